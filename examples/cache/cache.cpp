// A key-value cache that speaks memcached's text protocol [memcached doc/protocol.txt]: get, gets,
// set, add, replace, append, prepend, cas, delete, incr, decr, touch, flush_all, stats, version and
// quit, over ordinary sockets and epoll(7), without a C++ run-time library. What was not used for
// the longest time makes room for what is new.
//   cache [MEGABYTES [PORT]]     default: 2 MB of items, port 11211
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "store.hpp"

namespace {

constexpr size_t kLineLimit = 2048, kInputSize = 16384, kOutputLimit = 256 * 1024,
                 kOutputRoom = 4 * Store::kLargestValue;
constexpr int kMaxConnections = 1024, kMaxWords = 32;

struct State {
  int fd = -1;
  size_t input_size = 0;
  size_t output_size = 0, output_sent = 0, output_room = 0;
  char* output = nullptr;
  /// The value that is on its way after a storage command's line.
  Item* incoming = nullptr;
  Store::Mode mode = Store::Mode::kSet;
  uint64_t unique = 0;
  size_t missing = 0;     ///< bytes of it, with its CR LF, that are still to come
  size_t to_discard = 0;  ///< of a value that is not wanted
  bool quiet = false, closing = false;
  char tail[2] = {};  ///< what came in place of CR LF
};

struct Connection : State {
  char input[kInputSize];
};

Store store;
Connection* connections[kMaxConnections];
int poller = -1;
uint64_t gets = 0, hits = 0, sets = 0, total_connections = 0;
unsigned open_connections = 0;

[[noreturn]] void fail(const char* what) {
  fprintf(stderr, "cache: %s: %s\n", what, strerror(errno));
  exit(1);
}

uint32_t seconds() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint32_t(now.tv_sec) + 1;
}

void drop(Connection& c) {
  close(c.fd);
  free(c.output);
  free(c.incoming);
  c.fd = -1;
  c.output = nullptr;
  c.incoming = nullptr;
  --open_connections;
}

/// Queues bytes for the client; a client that does not read what it asks for is cut off.
void say(Connection& c, const char* bytes, size_t size) {
  if (c.output_size + size > c.output_room) {
    size_t room = c.output_room == 0 ? 4096 : c.output_room * 2;
    while (room < c.output_size + size) room *= 2;
    char* larger = room > kOutputRoom ? nullptr : static_cast<char*>(realloc(c.output, room));
    if (larger == nullptr) {
      c.closing = true;
      return;
    }
    c.output = larger;
    c.output_room = room;
  }
  memcpy(c.output + c.output_size, bytes, size);
  c.output_size += size;
}
void say(Connection& c, const char* text) { say(c, text, strlen(text)); }
/// An answer that "noreply" suppresses.
void answer(Connection& c, const char* text) {
  if (!c.quiet) say(c, text);
}

/// [protocol.txt] "Expiration times": up to 30 days are relative, more are since 1970, less than 0
/// is the past.
uint32_t expiry_of(const char* word) {
  constexpr long kThirtyDays = 60L * 60 * 24 * 30;
  long value = strtol(word, nullptr, 10);
  if (value == 0) return 0;
  if (value > kThirtyDays) value -= long(time(nullptr));
  return value <= 0 ? 1 : seconds() + uint32_t(value);
}

bool take_number(const char* word, uint64_t& number) {
  char* end = nullptr;
  errno = 0;
  number = strtoull(word, &end, 10);
  return *word >= '0' && *word <= '9' && *end == '\0' && errno == 0;
}

void get(Connection& c, char** words, int count, bool with_unique) {
  for (int i = 1; i < count; ++i) {
    ++gets;
    Item* item = store.find(words[i], seconds());
    if (item == nullptr) continue;
    ++hits;
    char line[kLineLimit];
    int size = with_unique ? snprintf(line, sizeof line, "VALUE %s %u %zu %llu\r\n", words[i],
                                      item->flags, item->size, (unsigned long long)item->unique)
                           : snprintf(line, sizeof line, "VALUE %s %u %zu\r\n", words[i],
                                      item->flags, item->size);
    say(c, line, size_t(size));
    say(c, item->value(), item->size);
    say(c, "\r\n");
  }
  say(c, "END\r\n");
}

/// set KEY FLAGS EXPIRY BYTES [UNIQUE] [noreply], and the value follows.
void begin_storing(Connection& c, char** words, int count, Store::Mode mode) {
  int needed = mode == Store::Mode::kCas ? 6 : 5;
  uint64_t flags = 0, size = 0;
  c.unique = 0;
  if (count < needed || strlen(words[1]) > Store::kLongestKey || !take_number(words[2], flags) ||
      flags > UINT32_MAX || !take_number(words[4], size) ||
      (mode == Store::Mode::kCas && !take_number(words[5], c.unique))) {
    say(c, "CLIENT_ERROR bad command line format\r\n");
    return;
  }
  c.quiet = count > needed && strcmp(words[needed], "noreply") == 0;
  c.mode = mode;
  c.incoming = size <= Store::kLargestValue ? Item::make(words[1], size_t(size)) : nullptr;
  if (c.incoming == nullptr) {
    answer(c, size <= Store::kLargestValue ? "SERVER_ERROR out of memory storing object\r\n"
                                           : "SERVER_ERROR object too large for cache\r\n");
    if (size > UINT32_MAX) c.closing = true;
    c.to_discard = size_t(size) + 2;
    return;
  }
  c.incoming->flags = uint32_t(flags);
  c.incoming->expiry = expiry_of(words[3]);
  c.missing = size_t(size) + 2;
}

void finish_storing(Connection& c) {
  Item* item = c.incoming;
  c.incoming = nullptr;
  if (c.tail[0] != '\r' || c.tail[1] != '\n') {
    free(item);
    say(c, "CLIENT_ERROR bad data chunk\r\n");
    return;
  }
  ++sets;
  switch (store.put(item, c.mode, c.unique, seconds())) {
    case Store::Outcome::kStored:
      return answer(c, "STORED\r\n");
    case Store::Outcome::kNotStored:
      return answer(c, "NOT_STORED\r\n");
    case Store::Outcome::kExists:
      return answer(c, "EXISTS\r\n");
    case Store::Outcome::kNotFound:
      return answer(c, "NOT_FOUND\r\n");
    case Store::Outcome::kTooLarge:
      return answer(c, "SERVER_ERROR object too large for cache\r\n");
  }
}

/// incr KEY NUMBER, and decr, which stops at 0.
void count_up(Connection& c, char** words, int count, bool up) {
  uint64_t by = 0, value = 0;
  if (count < 3 || !take_number(words[2], by))
    return say(c, "CLIENT_ERROR invalid numeric delta argument\r\n");
  Item* item = store.find(words[1], seconds());
  if (item == nullptr) return answer(c, "NOT_FOUND\r\n");
  char text[24] = {};
  if (item->size < sizeof text) memcpy(text, item->value(), item->size);
  if (item->size >= sizeof text || !take_number(text, value))
    return say(c, "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
  value = up ? value + by : value > by ? value - by : 0;
  int size = snprintf(text, sizeof text, "%llu", (unsigned long long)value);
  Item* changed = Item::make(words[1], size_t(size));
  if (changed == nullptr) return answer(c, "SERVER_ERROR out of memory\r\n");
  memcpy(changed->value(), text, size_t(size));
  changed->flags = item->flags;
  changed->expiry = item->expiry;
  store.put(changed, Store::Mode::kSet, 0, seconds());
  answer(c, text);
  answer(c, "\r\n");
}

void show_statistics(Connection& c) {
  const struct {
    const char* name;
    uint64_t value;
  } all[] = {{"uptime", seconds()},
             {"curr_connections", open_connections},
             {"total_connections", total_connections},
             {"cmd_get", gets},
             {"get_hits", hits},
             {"get_misses", gets - hits},
             {"cmd_set", sets},
             {"curr_items", store.count()},
             {"bytes", store.bytes()},
             {"limit_maxbytes", store.limit()},
             {"evictions", store.evictions()}};
  for (const auto& one : all) {
    char line[80];
    say(c, line,
        size_t(snprintf(line, sizeof line, "STAT %s %llu\r\n", one.name,
                        (unsigned long long)one.value)));
  }
  say(c, "END\r\n");
}

void obey(Connection& c, char* line) {
  char* words[kMaxWords];
  int count = 0;
  char* rest = nullptr;
  for (char* word = strtok_r(line, " ", &rest); word != nullptr && count < kMaxWords;
       word = strtok_r(nullptr, " ", &rest))
    words[count++] = word;
  if (count == 0) return say(c, "ERROR\r\n");
  auto is = [&](const char* name) { return strcmp(words[0], name) == 0; };
  c.quiet = count > 1 && strcmp(words[count - 1], "noreply") == 0;
  using Mode = Store::Mode;
  const struct {
    const char* name;
    Mode mode;
  } storing[] = {{"set", Mode::kSet},         {"add", Mode::kAdd},
                 {"replace", Mode::kReplace}, {"append", Mode::kAppend},
                 {"prepend", Mode::kPrepend}, {"cas", Mode::kCas}};
  for (const auto& one : storing) {
    if (is(one.name)) return begin_storing(c, words, count, one.mode);
  }
  if (count > 1 && (is("get") || is("gets"))) return get(c, words, count, is("gets"));
  if (count > 1 && is("delete"))
    return answer(c, store.remove(words[1]) ? "DELETED\r\n" : "NOT_FOUND\r\n");
  if (is("incr") || is("decr")) return count_up(c, words, count, is("incr"));
  if (count > 2 && is("touch")) {
    Item* item = store.find(words[1], seconds());
    if (item != nullptr) item->expiry = expiry_of(words[2]);
    return answer(c, item != nullptr ? "TOUCHED\r\n" : "NOT_FOUND\r\n");
  }
  if (is("flush_all")) {
    store.clear();
    return answer(c, "OK\r\n");
  }
  if (is("stats")) return show_statistics(c);
  if (is("version")) return say(c, "VERSION 1.0\r\n");
  if (is("quit")) {
    c.closing = true;
    return;
  }
  say(c, "ERROR\r\n");
}

/// A piece of a value out of `bytes`; how many were taken.
size_t take_value(Connection& c, const char* bytes, size_t size) {
  if (c.to_discard != 0) {
    size_t taken = size < c.to_discard ? size : c.to_discard;
    c.to_discard -= taken;
    return taken;
  }
  size_t taken = 0;
  while (taken < size && c.missing != 0) {
    size_t done = c.incoming->size + 2 - c.missing;
    size_t left = done < c.incoming->size ? c.incoming->size - done : c.missing;
    size_t part = size - taken < left ? size - taken : left;
    char* to = done < c.incoming->size ? c.incoming->value() + done : c.tail + (2 - c.missing);
    memcpy(to, bytes + taken, part);
    taken += part;
    c.missing -= part;
  }
  if (c.missing == 0) finish_storing(c);
  return taken;
}

/// Sends what is queued; false when the connection is gone.
bool flush(Connection& c) {
  while (c.output_sent < c.output_size) {
    ssize_t sent =
        send(c.fd, c.output + c.output_sent, c.output_size - c.output_sent, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN) return true;
      drop(c);
      return false;
    }
    c.output_sent += size_t(sent);
  }
  c.output_size = c.output_sent = 0;
  if (!c.closing) return true;
  drop(c);
  return false;
}

void handle_input(Connection& c) {
  size_t at = 0;
  // While answers wait for the client, its next requests do too.
  while (at < c.input_size && !c.closing && c.output_size - c.output_sent < kOutputLimit) {
    char* start = c.input + at;
    size_t left = c.input_size - at;
    if (c.incoming != nullptr || c.to_discard != 0) {
      at += take_value(c, start, left);
      continue;
    }
    auto* end = static_cast<char*>(memchr(start, '\n', left));
    if (end == nullptr) {
      if (left >= kLineLimit) {
        say(c, "CLIENT_ERROR line too long\r\n");
        c.closing = true;
      }
      break;
    }
    at += size_t(end - start) + 1;
    if (end > start && end[-1] == '\r') --end;
    *end = '\0';
    obey(c, start);
  }
  c.input_size -= at;
  memmove(c.input, c.input + at, c.input_size);
}

void serve(Connection& c, uint32_t events) {
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && c.input_size < kInputSize) {
    ssize_t got = recv(c.fd, c.input + c.input_size, kInputSize - c.input_size, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return drop(c);
    if (got > 0) c.input_size += size_t(got);
  }
  handle_input(c);
  if (!flush(c)) return;
  // Room again: what had to wait.
  if (c.input_size != 0 && c.output_size == 0) {
    handle_input(c);
    if (!flush(c)) return;
  }
  epoll_event event = {uint32_t(c.output_size != 0 ? EPOLLOUT : EPOLLIN), {.ptr = &c}};
  epoll_ctl(poller, EPOLL_CTL_MOD, c.fd, &event);
}

void accept_connections(int listener) {
  for (int fd; (fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
    Connection* found = nullptr;
    for (Connection*& place : connections) {
      if (place != nullptr && place->fd >= 0) continue;
      if (place == nullptr) place = static_cast<Connection*>(malloc(sizeof(Connection)));
      found = place;
      break;
    }
    if (found == nullptr) {
      close(fd);
      continue;
    }
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    static_cast<State&>(*found) = State{};
    found->fd = fd;
    ++open_connections;
    ++total_connections;
    epoll_event event = {EPOLLIN, {.ptr = found}};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
  }
}

}  // namespace

int main(int argument_count, char** arguments) {
  size_t megabytes = argument_count > 1 ? strtoul(arguments[1], nullptr, 10) : 2;
  int port = argument_count > 2 ? atoi(arguments[2]) : 11211;
  if (megabytes == 0 || megabytes > 65536 || !store.start(megabytes << 20)) {
    fprintf(stderr, "cache: %zu MB of items are not possible here\n", megabytes);
    return 1;
  }
  int listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), no = 0, yes = 1;
  setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(uint16_t(port));
  if (listener < 0 || bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, 511) != 0)
    fail("cannot listen");
  poller = epoll_create1(0);
  epoll_event event = {EPOLLIN, {.ptr = nullptr}};
  if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) != 0) fail("epoll");
  printf("cache: %zu MB on port %d\n", megabytes, port);
  fflush(stdout);
  for (;;) {
    epoll_event events[64];
    int count = epoll_wait(poller, events, 64, -1);
    if (count < 0 && errno != EINTR) fail("epoll_wait");
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr == nullptr) {
        accept_connections(listener);
      } else if (auto& c = *static_cast<Connection*>(events[i].data.ptr); c.fd >= 0) {
        serve(c, events[i].events);
      }
    }
  }
}
