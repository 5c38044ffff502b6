#pragma once
#include <stdint.h>
#include <string.h>

// The zone: what the file says, in wire form, in memory until the program ends.

constexpr int kMaxName = 255, kMaxRecords = 4096;
constexpr uint16_t kA = 1, kNs = 2, kCname = 5, kSoa = 6, kPtr = 12, kMx = 15, kTxt = 16,
                   kAaaa = 28, kSrv = 33, kOpt = 41, kAny = 255;

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

/// In the order of the file.
extern Record* records;
extern int record_count;

/// Reads the zone file [RFC 1035] 5.1; ends the program when there is anything wrong with it.
void read_zone(const char* path);

/// Zeroes, of whole pages; null when there are none. Straight from the system: the few blocks that
/// are needed do not pay for malloc.
void* map_memory(size_t size);

/// Says what is wrong on stderr and ends the program.
[[noreturn]] void fail(const char* what, const char* detail);
