// An authoritative DNS server: UDP and TCP, one zone file. Ordinary sockets and poll(2), no C++
// run-time library, no stdio, no malloc:
//   musl-gcc -x c++ -std=c++20 -Os -static -fno-exceptions -fno-rtti -o dns dns.cpp zone.cpp
//   aril run --port 5353:53/udp --port 5353:53 dns.aril
// Records: A AAAA NS CNAME PTR MX TXT SRV SOA; names relative to $ORIGIN, $TTL, "@", ";" comments.
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "line.hpp"
#include "zone.hpp"

namespace {

constexpr int kMaxClients = 64;
constexpr size_t kMaxMessage = 65535, kPlainUdp = 512,
                 kLargestUdp = 1232;  // [RFC 6891], flag day 2020

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
    for (Name owner = records[i].owner; owner.size >= name.size; owner = owner.parent()) {
      if (owner == name) return true;
      if (owner.is_root()) break;
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
  munmap(client.bytes, kMaxMessage + 2);
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
    client.bytes = static_cast<uint8_t*>(map_memory(kMaxMessage + 2));
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
  Line ready;
  ready << "dns: " << unsigned(record_count) << " records";
  ready.write_to(STDOUT_FILENO);
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
