// A static web server: HTTP/1.1 [RFC 9110, RFC 9112] with keep-alive, ranges and conditional
// requests, over ordinary sockets and epoll(7), without a C++ run-time library. Serves /srv (or the
// directory that is its first argument) on port 80 (or its second).
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

namespace {

constexpr size_t kRequestLimit = 8192;
constexpr int kMaxConnections = 1024, kMaxPath = 1024;
const char* root = "/srv";

struct Connection {
  int fd = -1;
  int file = -1;  ///< being sent
  off_t offset = 0, end = 0;
  size_t request_size = 0;
  size_t header_size = 0, header_sent = 0;
  bool keep_alive = true;
  char request[kRequestLimit + 1];
  char header[1024];
};

Connection* connections[kMaxConnections];
int connection_count = 0, poller = -1;

[[noreturn]] void fail(const char* what) {
  fprintf(stderr, "web: %s: %s\n", what, strerror(errno));
  exit(1);
}

const char* type_of(const char* path) {
  static const char* const kTypes[][2] = {{".html", "text/html; charset=utf-8"},
                                          {".css", "text/css"},
                                          {".js", "text/javascript"},
                                          {".json", "application/json"},
                                          {".png", "image/png"},
                                          {".jpg", "image/jpeg"},
                                          {".svg", "image/svg+xml"},
                                          {".txt", "text/plain; charset=utf-8"}};
  const char* dot = strrchr(path, '.');
  for (auto& type : kTypes) {
    if (dot != nullptr && strcasecmp(dot, type[0]) == 0) return type[1];
  }
  return "application/octet-stream";
}

/// The IMF-fixdate of [RFC 9110] 5.6.7.
void format_date(time_t when, char (&text)[40]) {
  tm parts;
  gmtime_r(&when, &parts);
  static const char kDays[] = "SunMonTueWedThuFriSat",
                    kMonths[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  snprintf(text, sizeof text, "%.3s, %02d %.3s %d %02d:%02d:%02d GMT", kDays + 3 * parts.tm_wday,
           parts.tm_mday, kMonths + 3 * parts.tm_mon, parts.tm_year + 1900, parts.tm_hour,
           parts.tm_min, parts.tm_sec);
}

/// The value of a header field in a NUL-terminated request, up to the line's end; null when it has
/// none.
const char* field(const char* request, const char* name, char* value, size_t limit) {
  size_t length = strlen(name);
  for (const char* line = strchr(request, '\n'); line != nullptr; line = strchr(line, '\n')) {
    ++line;
    if (strncasecmp(line, name, length) != 0 || line[length] != ':') continue;
    const char* from = line + length + 1;
    from += strspn(from, " \t");
    size_t size = strcspn(from, "\r\n");
    if (size >= limit) return nullptr;
    memcpy(value, from, size);
    value[size] = '\0';
    return value;
  }
  return nullptr;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = char(c | 32);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// The target's path with %XX decoded, below the root; false when it leads out of it or is
/// malformed.
bool file_path(const char* target, size_t size, char (&path)[kMaxPath]) {
  size_t at = size_t(snprintf(path, kMaxPath, "%s", root));
  for (size_t i = 0; i < size && target[i] != '?' && target[i] != '#'; ++i) {
    char c = target[i];
    if (c == '%') {
      if (i + 2 >= size) return false;
      int high = hex_digit(target[i + 1]), low = hex_digit(target[i + 2]);
      if (high < 0 || low < 0) return false;
      c = char(high << 4 | low);
      i += 2;
    }
    if (c == '\0' || at + 16 >= kMaxPath) return false;
    path[at++] = c;
  }
  if (path[at - 1] == '/') at += size_t(snprintf(path + at, kMaxPath - at, "index.html"));
  path[at] = '\0';
  // No segment may be "..".
  for (const char* segment = path; (segment = strstr(segment, "/..")) != nullptr; segment += 3) {
    if (segment[3] == '/' || segment[3] == '\0') return false;
  }
  return true;
}

void close_file(Connection& c) {
  if (c.file >= 0) close(c.file);
  c.file = -1;
  c.offset = c.end = 0;
}

void drop(Connection& c) {
  close_file(c);
  close(c.fd);
  c.fd = -1;
  --connection_count;
}

void put_header(Connection& c, const char* status, const char* rest) {
  static time_t last = 0;
  static char date[40];
  time_t now = time(nullptr);
  if (now != last) format_date(last = now, date);
  int size =
      snprintf(c.header, sizeof c.header, "HTTP/1.1 %s\r\nServer: aril-web\r\nDate: %s\r\n%s%s\r\n",
               status, date, rest, c.keep_alive ? "" : "Connection: close\r\n");
  c.header_size = size_t(size) < sizeof c.header ? size_t(size) : sizeof c.header - 1;
  c.header_sent = 0;
}

void refuse(Connection& c, const char* status, const char* more = "") {
  char rest[256];
  snprintf(rest, sizeof rest, "Content-Length: 0\r\n%s", more);
  put_header(c, status, rest);
}

/// One range of "bytes=A-B", "bytes=A-", "bytes=-N" [RFC 9110] 14.1.2. 1: it is [first, last];
/// 0: not to be heeded; -1: not satisfiable.
int parse_range(const char* text, off_t size, off_t& first, off_t& last) {
  if (strncasecmp(text, "bytes=", 6) != 0 || strchr(text, ',') != nullptr) return 0;
  text += 6;
  char* end;
  if (*text == '-') {
    if (text[1] < '0' || text[1] > '9') return 0;
    off_t count = strtoll(text + 1, &end, 10);
    if (*end != '\0') return 0;
    if (count == 0 || size == 0) return -1;
    first = count < size ? size - count : 0;
    last = size - 1;
    return 1;
  }
  if (*text < '0' || *text > '9') return 0;
  first = strtoll(text, &end, 10);
  if (*end++ != '-') return 0;
  last = size - 1;
  if (*end != '\0') {
    off_t wanted = strtoll(end, &end, 10);
    if (*end != '\0' || wanted < first) return 0;
    if (wanted < last) last = wanted;
  }
  return first < size ? 1 : -1;
}

/// Whether an If-None-Match lists this tag.
bool lists_tag(const char* list, const char* tag) {
  return strcmp(list, "*") == 0 || strstr(list, tag) != nullptr;
}

void respond(Connection& c) {
  char* request = c.request;
  size_t method = strcspn(request, " \r\n");
  char* target = request + method + (request[method] == ' ');
  size_t target_size = strcspn(target, " \r\n");
  const char* version = target + target_size + 1;
  char value[256];
  bool is_old = target[target_size] != ' ' || strncmp(version, "HTTP/1.1", 8) != 0;
  c.keep_alive = !is_old;
  if (field(request, "Connection", value, sizeof value) != nullptr) {
    if (strcasecmp(value, "close") == 0) c.keep_alive = false;
    if (strcasecmp(value, "keep-alive") == 0) c.keep_alive = true;
  }
  if (target[target_size] != ' ' || strncmp(version, "HTTP/1.", 7) != 0 || target[0] != '/') {
    c.keep_alive = false;
    return refuse(c, "400 Bad Request");
  }
  if (!is_old && field(request, "Host", value, sizeof value) == nullptr) {
    c.keep_alive = false;
    return refuse(c, "400 Bad Request");
  }
  // Bodies are not read: what follows one could not be told from it.
  if (field(request, "Transfer-Encoding", value, sizeof value) != nullptr ||
      (field(request, "Content-Length", value, sizeof value) != nullptr &&
       strcmp(value, "0") != 0)) {
    c.keep_alive = false;
  }
  bool is_head = method == 4 && memcmp(request, "HEAD", 4) == 0;
  if (!is_head && (method != 3 || memcmp(request, "GET", 3) != 0)) {
    return refuse(c, "405 Method Not Allowed", "Allow: GET, HEAD\r\n");
  }
  char path[kMaxPath];
  if (!file_path(target, target_size, path)) return refuse(c, "404 Not Found");
  c.file = open(path, O_RDONLY);
  struct stat status;
  if (c.file < 0 || fstat(c.file, &status) != 0 || !S_ISREG(status.st_mode)) {
    bool directory = c.file >= 0;
    close_file(c);
    if (directory && strlen(path) < 128 && target_size < 128) {
      char more[160];
      snprintf(more, sizeof more, "Location: %.*s/\r\n", int(target_size), target);
      return refuse(c, "301 Moved Permanently", more);
    }
    return refuse(c, "404 Not Found");
  }
  char tag[48], modified[40], rest[512];
  snprintf(tag, sizeof tag, "\"%llx-%llx\"", (unsigned long long)status.st_mtime,
           (unsigned long long)status.st_size);
  format_date(status.st_mtime, modified);
  bool unchanged = false;
  if (field(request, "If-None-Match", value, sizeof value) != nullptr) {
    unchanged = lists_tag(value, tag);
  } else if (field(request, "If-Modified-Since", value, sizeof value) != nullptr) {
    unchanged = strcmp(value, modified) == 0;  // what we gave; another date is simply not it
  }
  if (unchanged) {
    close_file(c);
    snprintf(rest, sizeof rest, "ETag: %s\r\n", tag);
    return put_header(c, "304 Not Modified", rest);
  }
  off_t first = 0, last = status.st_size - 1;
  int ranged = 0;
  if (field(request, "Range", value, sizeof value) != nullptr) {
    char validator[64];
    bool fresh = field(request, "If-Range", validator, sizeof validator) == nullptr ||
                 strcmp(validator, tag) == 0 || strcmp(validator, modified) == 0;
    if (fresh) ranged = parse_range(value, status.st_size, first, last);
  }
  if (ranged < 0) {
    close_file(c);
    snprintf(rest, sizeof rest, "Content-Range: bytes */%lld\r\n", (long long)status.st_size);
    return refuse(c, "416 Range Not Satisfiable", rest);
  }
  if (ranged == 0) {
    first = 0;
    last = status.st_size - 1;
  }
  int used =
      snprintf(rest, sizeof rest,
               "Content-Type: %s\r\nContent-Length: %lld\r\nLast-Modified: %s\r\nETag: %s\r\n"
               "Accept-Ranges: bytes\r\n",
               type_of(path), (long long)(last - first + 1), modified, tag);
  if (ranged > 0) {
    snprintf(rest + used, sizeof rest - size_t(used), "Content-Range: bytes %lld-%lld/%lld\r\n",
             (long long)first, (long long)last, (long long)status.st_size);
  }
  put_header(c, ranged > 0 ? "206 Partial Content" : "200 OK", rest);
  c.offset = first;
  c.end = last + 1;
  if (is_head) close_file(c);
}

/// Sends what is due. False: the socket takes no more for now.
bool send_some(Connection& c) {
  while (c.header_sent < c.header_size) {
    int more = c.file >= 0 ? MSG_MORE : 0;
    ssize_t sent =
        send(c.fd, c.header + c.header_sent, c.header_size - c.header_sent, MSG_NOSIGNAL | more);
    if (sent < 0) {
      if (errno != EAGAIN) drop(c);
      return false;
    }
    c.header_sent += size_t(sent);
  }
  while (c.file >= 0 && c.offset < c.end) {
    ssize_t sent = sendfile(c.fd, c.file, &c.offset, size_t(c.end - c.offset));
    if (sent <= 0) {
      if (sent == 0 || errno != EAGAIN) drop(c);
      return false;
    }
  }
  close_file(c);
  c.header_size = c.header_sent = 0;
  if (!c.keep_alive) {
    drop(c);
    return false;
  }
  return true;
}

void wait_for(Connection& c, uint32_t events) {
  epoll_event event = {events, {.ptr = &c}};
  epoll_ctl(poller, EPOLL_CTL_MOD, c.fd, &event);
}

/// Answers the requests that have come as a whole.
void handle_requests(Connection& c) {
  while (c.fd >= 0) {
    if (c.header_size != 0 && !send_some(c)) {
      if (c.fd >= 0) wait_for(c, EPOLLOUT);
      return;
    }
    c.request[c.request_size] = '\0';
    char* end = strstr(c.request, "\r\n\r\n");
    if (end == nullptr) break;
    size_t size = size_t(end - c.request) + 4;
    char next = c.request[size];
    c.request[size] = '\0';
    respond(c);
    c.request[size] = next;
    c.request_size -= size;
    memmove(c.request, c.request + size, c.request_size);
  }
  if (c.fd < 0) return;
  if (c.request_size == kRequestLimit) {
    c.keep_alive = false;
    c.request_size = 0;
    refuse(c, "431 Request Header Fields Too Large");
    send_some(c);
    return;
  }
  wait_for(c, EPOLLIN);
}

void serve(Connection& c, uint32_t events) {
  if ((events & EPOLLIN) != 0 && c.header_size == 0) {
    ssize_t got = recv(c.fd, c.request + c.request_size, kRequestLimit - c.request_size, 0);
    if (got <= 0) {
      if (got == 0 || errno != EAGAIN) drop(c);
      return;
    }
    c.request_size += size_t(got);
  } else if ((events & EPOLLOUT) == 0) {
    return drop(c);
  }
  handle_requests(c);
}

void accept_connections(int listener) {
  for (;;) {
    int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
    if (fd < 0) return;
    Connection* free_one = nullptr;
    for (Connection*& place : connections) {
      if (place == nullptr) place = static_cast<Connection*>(calloc(1, sizeof(Connection)));
      if (place == nullptr) break;
      if (place->fd <= 0) {
        free_one = place;
        break;
      }
    }
    if (free_one == nullptr) {
      close(fd);
      continue;
    }
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    free_one->fd = fd;
    free_one->file = -1;
    free_one->request_size = free_one->header_size = free_one->header_sent = 0;
    ++connection_count;
    epoll_event event = {EPOLLIN, {.ptr = free_one}};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
  }
}

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count > 1) root = arguments[1];
  int port = argument_count > 2 ? atoi(arguments[2]) : 80;
  int listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), no = 0, yes = 1;
  setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(uint16_t(port));
  if (listener < 0 || bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, 511) != 0) {
    fail("cannot listen");
  }
  poller = epoll_create1(0);
  epoll_event event = {EPOLLIN, {.ptr = nullptr}};
  if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) != 0) fail("epoll");
  printf("web: %s on port %d\n", root, port);
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
