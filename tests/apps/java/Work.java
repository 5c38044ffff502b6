import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** A web server whose pages each make Java work. */
public class Work {
  static final ExecutorService pool = Executors.newFixedThreadPool(8);

  static String threads() throws Exception {
    Map<Integer, Long> shared = new ConcurrentHashMap<>();
    List<Future<Long>> futures = new ArrayList<>();
    for (int thread = 0; thread < 8; ++thread) {
      futures.add(pool.submit(() -> {
        long sum = 0;
        for (int i = 0; i < 50000; ++i) sum += shared.merge(i % 1000, 1L, Long::sum) > 0 ? 1 : 0;
        return sum;
      }));
    }
    long sum = 0;
    for (Future<Long> future : futures) sum += future.get();
    return sum + " " + shared.values().stream().mapToLong(Long::longValue).sum();
  }

  /** Makes about 600 MB of garbage beside 20 MB that live. */
  static String garbage() {
    Map<Integer, byte[]> live = new HashMap<>();
    for (int i = 0; i < 60000; ++i) live.put(i % 2000, new byte[10000]);
    return live.size() + " " + live.get(1999).length;
  }

  /** Compiled code finds null pointers by taking SIGSEGV. */
  static String nulls() {
    int caught = 0;
    String[] texts = {"a", null};
    for (int i = 0; i < 200000; ++i) {
      try {
        if (texts[i % 1000 == 0 ? 1 : 0].length() != 1) return "wrong";
      } catch (NullPointerException expected) {
        ++caught;
      }
    }
    return String.valueOf(caught);
  }

  static String processes() throws Exception {
    Process tr = new ProcessBuilder("tr", "a-z", "A-Z").start();
    tr.getOutputStream().write("through tr".getBytes());
    tr.getOutputStream().close();
    String text = new String(tr.getInputStream().readAllBytes());
    int status = new ProcessBuilder("/bin/sh", "-c", "exit 3").start().waitFor();
    return text + " " + tr.waitFor() + " " + status;
  }

  static void serve(HttpServer server, String path, Callable<String> page) {
    server.createContext(path, (HttpExchange exchange) -> {
      byte[] body;
      try {
        body = page.call().getBytes();
      } catch (Exception exception) {
        throw new IOException(exception);
      }
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
  }

  public static void main(String[] arguments) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress(8000), 128);
    server.setExecutor(Executors.newFixedThreadPool(8));
    serve(server, "/", () -> "hello from java");
    serve(server, "/threads", Work::threads);
    serve(server, "/garbage", Work::garbage);
    serve(server, "/nulls", Work::nulls);
    serve(server, "/processes", Work::processes);
    serve(server, "/load", () -> "x".repeat(new byte[100000].length % 1000 + 10));
    server.start();
  }
}
