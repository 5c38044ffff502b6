// A web server with a thread for each connection, whose pages each make Mono work.
using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

static class Work {
  static string Tasks() {
    var results = new ConcurrentBag<long>();
    Parallel.For(0, 100, n => results.Add(Enumerable.Range(1, 1000).Sum(value => (long)value * n)));
    return results.Sum().ToString();
  }

  static async Task<int> Later(int n) {
    await Task.Delay(n % 10);
    return n;
  }

  static string Async() {
    return Task.WhenAll(Enumerable.Range(0, 200).Select(Later)).Result.Sum().ToString();
  }

  static string Garbage() {
    var live = new Dictionary<int, byte[]>();
    for (int n = 0; n < 20000; ++n) live[n % 500] = new byte[10000];
    return live.Count + " " + (GC.CollectionCount(0) > 3);
  }

  static string Nulls() {
    int caught = 0;
    string text = null;
    for (int n = 0; n < 100; ++n) {
      try {
        if (text.Length == n) return "wrong";
      } catch (NullReferenceException) {
        ++caught;
      }
    }
    return caught.ToString();
  }

  static void Answer(TcpClient client) {
    using (client) {
      var stream = client.GetStream();
      var buffer = new byte[8192];
      int size = stream.Read(buffer, 0, buffer.Length);
      string request = Encoding.ASCII.GetString(buffer, 0, size);
      string path = request.Contains(" ") ? request.Split(' ')[1] : "/";
      string body = path == "/tasks" ? Tasks()
          : path == "/async" ? Async()
          : path == "/garbage" ? Garbage()
          : path == "/nulls" ? Nulls()
          : "hello from mono";
      byte[] reply = Encoding.ASCII.GetBytes(
          $"HTTP/1.0 200 OK\r\nContent-Length: {body.Length}\r\n\r\n{body}");
      stream.Write(reply, 0, reply.Length);
    }
  }

  static void Main() {
    var listener = new TcpListener(IPAddress.Any, 8000);
    listener.Start(100);
    for (;;) {
      TcpClient client = listener.AcceptTcpClient();
      new Thread(() => Answer(client)).Start();
    }
  }
}
