#include "zone.hpp"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

Record* records = nullptr;
int record_count = 0;

void fail(const char* what, const char* detail) {
  fprintf(stderr, "dns: %s: %s\n", what, detail);
  exit(1);
}

namespace {

struct Type {
  const char* name;
  uint16_t number;
};
constexpr Type kTypes[] = {{"A", kA},     {"NS", kNs},     {"CNAME", kCname},
                           {"SOA", kSoa}, {"PTR", kPtr},   {"MX", kMx},
                           {"TXT", kTxt}, {"AAAA", kAaaa}, {"SRV", kSrv}};

Name origin;
uint32_t default_ttl = 3600;

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

/// For one more record.
bool make_room() {
  static int room = 0;
  if (record_count < room) return true;
  if (record_count == kMaxRecords) return false;
  int larger = room == 0 ? 32 : room * 2;
  auto* moved = static_cast<Record*>(realloc(records, size_t(larger) * sizeof(Record)));
  if (moved == nullptr) return false;
  records = moved;
  room = larger;
  return true;
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
  if (at >= count || !make_room()) return false;
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

}  // namespace

void read_zone(const char* path) {
  constexpr off_t kLargest = 1 << 18;
  int fd = open(path, O_RDONLY);
  off_t end_of_file = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
  if (end_of_file < 0 || lseek(fd, 0, SEEK_SET) != 0) fail(path, strerror(errno));
  if (end_of_file > kLargest) fail(path, "larger than 256 KiB");
  auto* text = static_cast<char*>(calloc(1, size_t(end_of_file) + 1));
  if (text == nullptr) fail(path, "no memory to read it");
  ssize_t size = 0, got = 1;
  while (got > 0 && size < end_of_file) {
    got = read(fd, text + size, size_t(end_of_file - size));
    if (got > 0) size += got;
  }
  if (got < 0) fail(path, strerror(errno));
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
  free(text);
}
