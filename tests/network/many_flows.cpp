// A server of many connections at once: `many_flows COUNT BYTES` takes COUNT of them on port 7000,
// each in a thread on one of the machine's CPUs in turn, reads BYTES bytes from each, writes them
// back, waits for the end, and shows in the end what passed each queue of the network devices.
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

void need(bool holds, const char* what) {
  if (holds) return;
  std::perror(what);
  std::exit(1);
}

void pin(unsigned cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  need(pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0, "pthread_setaffinity_np");
}

void echo(int connection, unsigned cpu, size_t size) {
  pin(cpu);
  std::vector<char> data(size);
  for (size_t at = 0; at < size;) {
    ssize_t part = read(connection, data.data() + at, size - at);
    need(part > 0, "read");
    at += static_cast<size_t>(part);
  }
  for (size_t at = 0; at < size;) {
    ssize_t part = write(connection, data.data() + at, size - at);
    need(part > 0, "write");
    at += static_cast<size_t>(part);
  }
  // Until the other side has it all: with the program the machine ends.
  need(read(connection, data.data(), 1) == 0, "the end");
  close(connection);
}

}  // namespace

int main(int, char** words) {
  const int count = std::atoi(words[1]);
  const size_t size = std::strtoul(words[2], nullptr, 10);
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(7000);
  need(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "bind");
  need(listen(listener, count) == 0, "listen");
  std::puts("ready");
  std::fflush(stdout);
  const unsigned cpus = std::thread::hardware_concurrency();
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    const int connection = accept(listener, nullptr, nullptr);
    need(connection >= 0, "accept");
    threads.emplace_back(echo, connection, static_cast<unsigned>(i) % cpus, size);
  }
  for (std::thread& thread : threads) thread.join();
  FILE* queues = std::fopen("/proc/net/aril_queues", "r");
  need(queues != nullptr, "/proc/net/aril_queues");
  char line[200];
  while (std::fgets(line, sizeof line, queues) != nullptr) std::fputs(line, stdout);
  return 0;
}
