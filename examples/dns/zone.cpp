#include "zone.hpp"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "line.hpp"

Record* records = nullptr;
int record_count = 0;

void fail(const char* what, const char* detail) {
  Line line;
  line << "dns: " << what << ": " << detail;
  line.write_to(STDERR_FILENO);
  _exit(1);
}

void* map_memory(size_t size) {
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
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
int record_room = 0;

bool parse_number(const char* text, uint32_t& value) {
  uint64_t number = 0;
  const char* at = text;
  for (; isdigit(*at) && number <= UINT32_MAX; ++at) number = number * 10 + uint64_t(*at - '0');
  value = uint32_t(number);
  return at != text && *at == '\0' && number <= UINT32_MAX;
}

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
  bool number16(const char* text) {
    uint32_t value;
    if (!parse_number(text, value) || value > UINT16_MAX) return false;
    u16(value);
    return true;
  }
  bool number32(const char* text) {
    uint32_t value;
    if (!parse_number(text, value)) return false;
    u32(value);
    return true;
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
      return count >= 2 && out.number16(words[0]) && out.name(words[1]);
    case kSrv:
      if (count < 4) return false;
      for (int i = 0; i < 3; ++i) {
        if (!out.number16(words[i])) return false;
      }
      return out.name(words[3]);
    case kSoa:
      if (count < 7 || !out.name(words[0]) || !out.name(words[1])) return false;
      for (int i = 2; i < 7; ++i) {
        if (!out.number32(words[i])) return false;
      }
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

/// A copy of the bytes that stays.
uint8_t* keep(const uint8_t* bytes, size_t size) {
  constexpr size_t kChunk = 1 << 16;
  static uint8_t* next = nullptr;
  static size_t left = 0;
  if (left < size) {
    next = static_cast<uint8_t*>(map_memory(kChunk));
    if (next == nullptr) return nullptr;
    left = kChunk;
  }
  uint8_t* copy = next;
  memcpy(copy, bytes, size);
  next += size;
  left -= size;
  return copy;
}

bool add_line(char* line, Name& owner) {
  bool same_owner = *line == ' ' || *line == '\t';
  char* words[32];
  int count = split(line, words, 32), at = 0;
  if (count == 0) return true;
  if (strcmp(words[0], "$ORIGIN") == 0) return count == 2 && parse_name(words[1], origin);
  if (strcmp(words[0], "$TTL") == 0) {
    return count == 2 && parse_number(words[1], default_ttl);
  }
  if (!same_owner && !parse_name(words[at++], owner)) return false;
  uint32_t ttl = default_ttl;
  for (; at < count; ++at) {
    if (isdigit(words[at][0])) {
      if (!parse_number(words[at], ttl)) return false;
    } else if (strcasecmp(words[at], "IN") != 0) {
      break;
    }
  }
  if (at >= count || record_count == record_room) return false;
  for (const Type& type : kTypes) {
    if (strcasecmp(type.name, words[at]) != 0) continue;
    Builder data;
    if (!build_data(type.number, words + at + 1, count - at - 1, data)) return false;
    uint8_t* copy = keep(data.bytes, data.size);
    if (copy == nullptr) return false;
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
  auto* text = static_cast<char*>(map_memory(size_t(end_of_file) + 1));
  if (text == nullptr) fail(path, "no memory to read it");
  ssize_t size = 0, got = 1;
  while (got > 0 && size < end_of_file) {
    got = read(fd, text + size, size_t(end_of_file - size));
    if (got > 0) size += got;
  }
  if (got < 0) fail(path, strerror(errno));
  close(fd);
  for (ssize_t i = 0; i <= size && record_room < kMaxRecords; ++i) {
    if (i == size || text[i] == '\n') ++record_room;  // no line has more than one
  }
  records = static_cast<Record*>(map_memory(size_t(record_room) * sizeof(Record)));
  if (records == nullptr) fail(path, "no memory for its records");
  parse_name(".", origin);
  Name owner = origin;
  unsigned number = 0;
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
      Line place;
      place << "line " << number;
      fail(path, place.text());
    }
    line = end != nullptr ? end + 1 : nullptr;
  }
  munmap(text, size_t(end_of_file) + 1);
}
