// An authoritative DNS server: UDP and TCP, one zone file. Ordinary sockets and poll(2), no C++
// run-time library:
//   musl-gcc -x c++ -std=c++20 -Os -static -fno-exceptions -fno-rtti -o dns dns.cpp
//   aril run --port 5353:53/udp --port 5353:53 dns.aril
// Records: A AAAA NS CNAME PTR MX TXT SRV SOA; names relative to $ORIGIN, $TTL, "@", ";" comments.
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

constexpr int kMaxName = 255, kMaxRecords = 4096, kMaxClients = 64;
constexpr size_t kMaxMessage = 65535, kPlainUdp = 512,
                 kLargestUdp = 1232;  // [RFC 6891], flag day 2020
constexpr uint16_t kA = 1, kNs = 2, kCname = 5, kSoa = 6, kPtr = 12, kMx = 15, kTxt = 16,
                   kAaaa = 28, kSrv = 33, kOpt = 41, kAny = 255;

struct Type {
  const char* name;
  uint16_t number;
};
constexpr Type kTypes[] = {{"A", kA},     {"NS", kNs},     {"CNAME", kCname},
                           {"SOA", kSoa}, {"PTR", kPtr},   {"MX", kMx},
                           {"TXT", kTxt}, {"AAAA", kAaaa}, {"SRV", kSrv}};

/// A name as on the wire, lower case: length-prefixed labels and a zero.
struct Name {
  uint8_t bytes[kMaxName + 1];
  uint8_t size = 0;
  bool operator==(const Name& other) const {
    return size == other.size && memcmp(bytes, other.bytes, size) == 0;
  }
  /// Without its first label.
  Name parent() const {
    Name rest;
    rest.size = uint8_t(size - bytes[0] - 1);
    memcpy(rest.bytes, bytes + bytes[0] + 1, rest.size);
    return rest;
  }
  bool is_root() const { return size == 1; }
};

struct Record {
  Name owner;
  uint16_t type;
  uint32_t ttl;
  uint16_t size;
  uint8_t* data;
};

Record records[kMaxRecords];
int record_count = 0;
Name origin;
uint32_t default_ttl = 3600;

[[noreturn]] void fail(const char* what, const char* detail) {
  fprintf(stderr, "dns: %s: %s\n", what, detail);
  exit(1);
}

// ---- the zone file

/// Text to wire form; a name without a dot at its end is relative to the origin.
bool parse_name(const char* text, Name& name) {
  name.size = 0;
  if (strcmp(text, "@") == 0) {
    name = origin;
    return true;
  }
  bool absolute = false;
  while (*text != '\0') {
    const char* dot = strchr(text, '.');
    size_t length = dot != nullptr ? size_t(dot - text) : strlen(text);
    if (length == 0 && dot != nullptr && dot[1] == '\0' && name.size == 0) break;  // "."
    if (length == 0 || length > 63 || name.size + length + 2 > kMaxName) return false;
    name.bytes[name.size++] = uint8_t(length);
    for (size_t i = 0; i < length; ++i) name.bytes[name.size++] = uint8_t(tolower(text[i]));
    text += length;
    if (dot == nullptr) break;
    ++text;
    absolute = *text == '\0';
  }
  if (absolute || *text == '.') {
    name.bytes[name.size++] = 0;
    return true;
  }
  if (name.size + origin.size > kMaxName) return false;
  memcpy(name.bytes + name.size, origin.bytes, origin.size);
  name.size = uint8_t(name.size + origin.size);
  return true;
}

struct Builder {
  uint8_t bytes[2048];
  size_t size = 0;
  void u16(unsigned long value) {
    bytes[size++] = uint8_t(value >> 8);
    bytes[size++] = uint8_t(value);
  }
  void u32(unsigned long value) {
    u16(value >> 16);
    u16(value);
  }
  bool name(const char* text) {
    Name name;
    if (text == nullptr || !parse_name(text, name)) return false;
    memcpy(bytes + size, name.bytes, name.size);
    size += name.size;
    return true;
  }
};

bool build_data(uint16_t type, char** words, int count, Builder& out) {
  auto number = [&](int i) { return strtoul(words[i], nullptr, 10); };
  switch (type) {
    case kA:
      out.size = 4;
      return count >= 1 && inet_pton(AF_INET, words[0], out.bytes) == 1;
    case kAaaa:
      out.size = 16;
      return count >= 1 && inet_pton(AF_INET6, words[0], out.bytes) == 1;
    case kNs:
    case kCname:
    case kPtr:
      return count >= 1 && out.name(words[0]);
    case kMx:
      if (count < 2) return false;
      out.u16(number(0));
      return out.name(words[1]);
    case kSrv:
      if (count < 4) return false;
      for (int i = 0; i < 3; ++i) out.u16(number(i));
      return out.name(words[3]);
    case kSoa:
      if (count < 7 || !out.name(words[0]) || !out.name(words[1])) return false;
      for (int i = 2; i < 7; ++i) out.u32(number(i));
      return true;
    case kTxt:
      for (int i = 0; i < count; ++i) {
        size_t length = strlen(words[i]);
        if (length > 255 || out.size + length + 1 > sizeof out.bytes) return false;
        out.bytes[out.size++] = uint8_t(length);
        memcpy(out.bytes + out.size, words[i], length);
        out.size += length;
      }
      return count > 0;
    default:
      return false;
  }
}

/// Splits a line in place; "quoted words" may hold blanks.
int split(char* line, char** words, int limit) {
  int count = 0;
  while (count < limit) {
    line += strspn(line, " \t\r\n()");
    if (*line == '\0' || *line == ';') break;
    if (*line == '"') {
      words[count++] = ++line;
      line += strcspn(line, "\"");
    } else {
      words[count++] = line;
      line += strcspn(line, " \t\r\n();");
    }
    if (*line == '\0' || *line == ';') {
      *line = '\0';
      break;
    }
    *line++ = '\0';
  }
  return count;
}

bool add_line(char* line, Name& owner) {
  bool same_owner = *line == ' ' || *line == '\t';
  char* words[32];
  int count = split(line, words, 32), at = 0;
  if (count == 0) return true;
  if (strcmp(words[0], "$ORIGIN") == 0) return count == 2 && parse_name(words[1], origin);
  if (strcmp(words[0], "$TTL") == 0) {
    default_ttl = count == 2 ? uint32_t(strtoul(words[1], nullptr, 10)) : default_ttl;
    return count == 2;
  }
  if (!same_owner && !parse_name(words[at++], owner)) return false;
  uint32_t ttl = default_ttl;
  for (; at < count; ++at) {
    if (isdigit(words[at][0])) {
      ttl = uint32_t(strtoul(words[at], nullptr, 10));
    } else if (strcasecmp(words[at], "IN") != 0) {
      break;
    }
  }
  if (at >= count || record_count == kMaxRecords) return false;
  for (const Type& type : kTypes) {
    if (strcasecmp(type.name, words[at]) != 0) continue;
    Builder data;
    if (!build_data(type.number, words + at + 1, count - at - 1, data)) return false;
    auto* copy = static_cast<uint8_t*>(malloc(data.size));
    if (copy == nullptr) return false;
    memcpy(copy, data.bytes, data.size);
    records[record_count++] = {owner, type.number, ttl, uint16_t(data.size), copy};
    return true;
  }
  return false;
}

void read_zone(const char* path) {
  int fd = open(path, O_RDONLY);
  static char text[1 << 18];
  ssize_t size = 0, got = 1;
  while (fd >= 0 && got > 0 && size < ssize_t(sizeof text) - 1) {
    got = read(fd, text + size, sizeof text - 1 - size_t(size));
    if (got > 0) size += got;
  }
  if (fd < 0 || got < 0) fail(path, strerror(errno));
  close(fd);
  parse_name(".", origin);
  Name owner = origin;
  int number = 0;
  for (char* line = text; line != nullptr && *line != '\0';) {
    // A parenthesis continues the line [RFC 1035] 5.1.
    char* end = strchr(line, '\n');
    ++number;
    for (char* open_at = strchr(line, '(');
         open_at != nullptr && end != nullptr && open_at < end;) {
      char* close_at = strchr(open_at, ')');
      if (close_at == nullptr) break;
      for (char* c = open_at; c < close_at; ++c) {
        if (*c == ';') {
          while (c < close_at && *c != '\n') *c++ = ' ';
        }
        if (*c == '\n') *c = ' ';
      }
      end = strchr(close_at, '\n');
      open_at = nullptr;
    }
    if (end != nullptr) *end = '\0';
    if (!add_line(line, owner)) {
      char place[32];
      snprintf(place, sizeof place, "line %d", number);
      fail(path, place);
    }
    line = end != nullptr ? end + 1 : nullptr;
  }
}

// ---- answers

struct Reply {
  uint8_t* bytes;
  size_t size, limit;
  bool truncated = false;

  bool put(const void* data, size_t count) {
    if (size + count > limit) {
      truncated = true;
      return false;
    }
    memcpy(bytes + size, data, count);
    size += count;
    return true;
  }
  bool u16(unsigned value) {
    uint8_t data[] = {uint8_t(value >> 8), uint8_t(value)};
    return put(data, 2);
  }
  /// All of the record or nothing; an owner that is the question's is a pointer to it.
  bool record(const Record& record, const Name& owner, const Name& question) {
    size_t start = size;
    bool fits = owner == question ? u16(0xc00c) : put(owner.bytes, owner.size);
    fits = fits && u16(record.type) && u16(1) && u16(record.ttl >> 16) &&
           u16(record.ttl & 0xffff) && u16(record.size) && put(record.data, record.size);
    if (!fits) size = start;
    return fits;
  }
};

void set_u16(uint8_t* at, unsigned value) {
  at[0] = uint8_t(value >> 8);
  at[1] = uint8_t(value);
}
unsigned get_u16(const uint8_t* at) { return unsigned(at[0]) << 8 | at[1]; }

/// Whether the zone has the name or something below it.
bool exists(const Name& name) {
  for (int i = 0; i < record_count; ++i) {
    const Name& owner = records[i].owner;
    if (owner.size >= name.size &&
        memcmp(owner.bytes + owner.size - name.size, name.bytes, name.size) == 0) {
      return true;
    }
  }
  return false;
}

/// The owner whose records answer for `name`: itself, or the wildcard above it [RFC 4592].
bool find_owner(const Name& name, Name& owner) {
  owner = name;
  if (exists(name)) return true;
  for (Name above = name; !above.is_root();) {
    above = above.parent();
    if (above.size + 2 > kMaxName) return false;
    owner.size = uint8_t(above.size + 2);
    owner.bytes[0] = 1;
    owner.bytes[1] = '*';
    memcpy(owner.bytes + 2, above.bytes, above.size);
    if (exists(owner)) return true;
    if (exists(above)) return false;
  }
  return false;
}

const Record* soa_for(const Name& name) {
  for (Name at = name;; at = at.parent()) {
    for (int i = 0; i < record_count; ++i) {
      if (records[i].type == kSoa && records[i].owner == at) return &records[i];
    }
    if (at.is_root()) return nullptr;
  }
}

/// Builds the answer to `query` in `out`; 0: none is due.
size_t answer(const uint8_t* query, size_t size, uint8_t* out, size_t limit, bool is_tcp) {
  constexpr size_t kHeader = 12;
  if (size < kHeader || (query[2] & 0x80) != 0) return 0;
  memset(out, 0, kHeader);
  memcpy(out, query, 2);
  out[2] = uint8_t(0x80 | (query[2] & 0x79));  // response, opcode and "recursion desired" kept
  Reply reply = {out, kHeader, limit};
  auto refuse = [&](unsigned code) {
    out[3] = uint8_t(code);
    return reply.size;
  };
  if ((query[2] & 0x78) != 0) return refuse(4);  // not implemented
  if (get_u16(query + 4) != 1) return refuse(1);
  Name question;
  size_t at = kHeader;
  for (;;) {
    if (at >= size || query[at] > 63) return refuse(1);
    uint8_t length = query[at];
    if (at + 1 + length > size || question.size + length + 1 > kMaxName) return refuse(1);
    question.bytes[question.size++] = length;
    for (unsigned i = 1; i <= length; ++i) {
      question.bytes[question.size++] = uint8_t(tolower(query[at + i]));
    }
    at += 1 + length;
    if (length == 0) break;
  }
  if (at + 4 > size) return refuse(1);
  uint16_t type = uint16_t(get_u16(query + at)), dns_class = uint16_t(get_u16(query + at + 2));
  // EDNS [RFC 6891]: just the size of what the client takes.
  const uint8_t* opt = query + at + 4;
  bool has_edns = get_u16(query + 10) == 1 && get_u16(query + 6) == 0 && get_u16(query + 8) == 0 &&
                  at + 4 + 11 <= size && opt[0] == 0 && get_u16(opt + 1) == kOpt;
  if (!is_tcp) {
    size_t offered = has_edns ? get_u16(opt + 3) : kPlainUdp;
    reply.limit = offered < kPlainUdp ? kPlainUdp : offered > kLargestUdp ? kLargestUdp : offered;
  }
  if (has_edns) reply.limit -= 11;
  set_u16(out + 4, 1);
  reply.put(query + kHeader, at + 4 - kHeader);  // as it was written: its case is kept
  const Record* soa = soa_for(question);
  unsigned answers = 0, authority = 0, code = 0;
  if (soa == nullptr || (dns_class != 1 && dns_class != kAny)) {
    code = 5;  // refused: not ours
  } else {
    out[2] |= 4;  // authoritative
    Name name = question, owner;
    bool found = false;
    for (int depth = 0; depth < 8; ++depth) {
      found = find_owner(name, owner);
      const Record* alias = nullptr;
      for (int i = 0; found && i < record_count; ++i) {
        const Record& record = records[i];
        if (!(record.owner == owner)) continue;
        if (record.type == type || type == kAny) {
          if (reply.record(record, name, question)) ++answers;
        } else if (record.type == kCname) {
          alias = &record;
        }
      }
      if (alias == nullptr || answers > unsigned(depth)) break;
      if (reply.record(*alias, name, question)) ++answers;
      name.size = uint8_t(alias->size);
      memcpy(name.bytes, alias->data, alias->size);
      if (soa_for(name) == nullptr) {
        found = true;
        break;
      }
    }
    if (!found) code = 3;
    if (answers == 0 && !reply.truncated && reply.record(*soa, soa->owner, question)) authority = 1;
  }
  if (reply.truncated) out[2] |= 2;
  if (has_edns) {
    reply.limit += 11;
    const uint8_t ours[11] = {0, 0, kOpt, uint8_t(kLargestUdp >> 8), uint8_t(kLargestUdp & 0xff)};
    reply.put(ours, sizeof ours);
    set_u16(out + 10, 1);
  }
  set_u16(out + 6, answers);
  set_u16(out + 8, authority);
  out[3] = uint8_t(code);
  return reply.size;
}

// ---- sockets

struct Client {
  int fd = -1;
  size_t size = 0;
  uint8_t* bytes = nullptr;  ///< length and message, as they come
};
Client clients[kMaxClients];
uint8_t reply_bytes[kMaxMessage + 2];

int open_socket(int type) {
  int fd = socket(AF_INET6, type | SOCK_NONBLOCK, 0);
  int no = 0, yes = 1;
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(53);
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    fail("port 53", strerror(errno));
  }
  if (type == SOCK_STREAM && listen(fd, kMaxClients) != 0) fail("listen", strerror(errno));
  return fd;
}

void serve_udp(int fd) {
  static uint8_t query[kMaxMessage];
  for (int i = 0; i < 64; ++i) {  // then the others get their turn
    sockaddr_in6 from;
    socklen_t length = sizeof from;
    auto* address = reinterpret_cast<sockaddr*>(&from);
    ssize_t size = recvfrom(fd, query, sizeof query, 0, address, &length);
    if (size < 0) return;
    size_t reply = answer(query, size_t(size), reply_bytes, kMaxMessage, false);
    if (reply != 0) sendto(fd, reply_bytes, reply, 0, address, length);
  }
}

void drop(Client& client) {
  close(client.fd);
  free(client.bytes);
  client = {};
}

void serve_tcp(Client& client) {
  ssize_t got = recv(client.fd, client.bytes + client.size, kMaxMessage + 2 - client.size, 0);
  if (got <= 0) {
    if (got == 0 || errno != EAGAIN) drop(client);
    return;
  }
  client.size += size_t(got);
  while (client.size >= 2) {
    size_t length = get_u16(client.bytes);
    if (client.size < length + 2) return;
    size_t reply = answer(client.bytes + 2, length, reply_bytes + 2, kMaxMessage, true);
    set_u16(reply_bytes, unsigned(reply));
    // Answers are small and the socket's buffer is not: one that does not take it is not read.
    if (reply == 0 || send(client.fd, reply_bytes, reply + 2, MSG_NOSIGNAL) != ssize_t(reply + 2)) {
      drop(client);
      return;
    }
    client.size -= length + 2;
    memmove(client.bytes, client.bytes + length + 2, client.size);
  }
}

void accept_client(int listener) {
  int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
  if (fd < 0) return;
  for (Client& client : clients) {
    if (client.fd >= 0) continue;
    client.bytes = static_cast<uint8_t*>(malloc(kMaxMessage + 2));
    if (client.bytes == nullptr) break;
    client.fd = fd;
    return;
  }
  close(fd);
}

}  // namespace

int main(int argument_count, char** arguments) {
  read_zone(argument_count > 1 ? arguments[1] : "/etc/zone");
  int udp = open_socket(SOCK_DGRAM), tcp = open_socket(SOCK_STREAM);
  printf("dns: %d records\n", record_count);
  fflush(stdout);
  for (;;) {
    pollfd polled[kMaxClients + 2] = {{udp, POLLIN, 0}, {tcp, POLLIN, 0}};
    Client* who[kMaxClients + 2];
    nfds_t count = 2;
    for (Client& client : clients) {
      if (client.fd < 0) continue;
      who[count] = &client;
      polled[count++] = {client.fd, POLLIN, 0};
    }
    if (poll(polled, count, -1) < 0 && errno != EINTR) fail("poll", strerror(errno));
    if (polled[0].revents != 0) serve_udp(udp);
    for (nfds_t i = 2; i < count; ++i) {
      if (polled[i].revents != 0) serve_tcp(*who[i]);
    }
    if (polled[1].revents != 0) accept_client(tcp);
  }
}
