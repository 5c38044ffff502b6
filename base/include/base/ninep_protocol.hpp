#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "base/endian.hpp"

/// Messages of 9P2000.L [9p2000.L: diod's protocol.md, linux/include/net/9p/9p.h]: little-endian,
/// size[4] type[1] tag[2] and then the fields of the type. For the kernel's client (fs/ninep) and
/// the server of `aril run --platform process` (tools/aril/volume).
namespace aril::ninep {

enum class Type : uint8_t {
  kErrorReply = 7,
  kStatFs = 8,
  kOpen = 12,
  kSymlink = 16,
  kMakeNode = 18,
  kReadLink = 22,
  kGetAttributes = 24,
  kSetAttributes = 26,
  kXattrWalk = 30,
  kXattrCreate = 32,
  kReadDirectory = 40,
  kSync = 50,
  kLink = 70,
  kMakeDirectory = 72,
  kRenameAt = 74,
  kUnlinkAt = 76,
  kVersion = 100,
  kAttach = 104,
  kWalk = 110,
  kRead = 116,
  kWrite = 118,
  kClunk = 120,
};

inline constexpr uint16_t kNoTag = 0xffff;
inline constexpr uint32_t kNoFid = 0xffff'ffff;
inline constexpr size_t kHeaderSize = 7;
/// The head of Rread and Rreaddir, before the data; an error answer is no longer.
inline constexpr size_t kDataReplyHead = 11;
/// The head of Twrite.
inline constexpr size_t kWriteHead = 23;
inline constexpr size_t kQidSize = 13;

/// Which file: `path` is unique and `version` changes with the contents.
struct Qid {
  static constexpr uint8_t kDirectory = 0x80, kSymlink = 2;
  uint8_t type = 0;
  uint32_t version = 0;
  uint64_t path = 0;
};

/// Rgetattr's fields.
struct Attributes {
  Qid qid;
  uint32_t mode = 0, uid = 0, gid = 0;
  uint64_t link_count = 0, device = 0, size = 0, block_size = 0, blocks = 0;
  int64_t access_ns = 0, modify_ns = 0, change_ns = 0;
  bool is_stand_in = false;  ///< not the server's word: stand_in.hpp
};

// Tsetattr's "valid" bits.
inline constexpr uint32_t kSetMode = 1, kSetUid = 2, kSetGid = 4, kSetSize = 8, kSetAccess = 16,
                          kSetModify = 32, kSetAccessTo = 128, kSetModifyTo = 256;
struct AttributeRequest {
  uint32_t valid = 0, mode = 0, uid = 0, gid = 0;
  uint64_t size = 0;
  int64_t access_ns = 0, modify_ns = 0;
};

/// Composes a message; what does not fit makes it fail.
class Writer {
 public:
  explicit Writer(std::span<std::byte> buffer) : buffer_(buffer) {}

  Writer& u8(uint8_t value) { return put(value); }
  Writer& u16(uint16_t value) { return put(value); }
  Writer& u32(uint32_t value) { return put(value); }
  Writer& u64(uint64_t value) { return put(value); }
  Writer& text(std::string_view value) {
    if (value.size() > 0xffff) failed_ = true;
    u16(static_cast<uint16_t>(value.size()));
    copy(value.data(), value.size());
    return *this;
  }
  Writer& qid(const Qid& qid) { return u8(qid.type).u32(qid.version).u64(qid.path); }
  /// What is free, to be written to and then taken by skip().
  [[nodiscard]] std::span<std::byte> room() const { return buffer_.subspan(at_); }
  Writer& skip(size_t count) {
    if (count > buffer_.size() - at_) {
      failed_ = true;
    } else {
      at_ += count;
    }
    return *this;
  }
  [[nodiscard]] size_t size() const { return at_; }
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  template <typename T>
  Writer& put(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) {
      auto byte = static_cast<uint8_t>(value >> (8 * i));
      copy(&byte, 1);
    }
    return *this;
  }
  void copy(const void* from, size_t count) {
    if (count > buffer_.size() - at_) {
      failed_ = true;
      return;
    }
    if (count != 0) std::memcpy(buffer_.data() + at_, from, count);
    at_ += count;
  }

  std::span<std::byte> buffer_;
  size_t at_ = 0;
  bool failed_ = false;
};

/// Takes a message apart. Reading past its end makes it fail and gives zeroes.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  uint8_t u8() { return get<uint8_t>(); }
  uint16_t u16() { return get<uint16_t>(); }
  uint32_t u32() { return get<uint32_t>(); }
  uint64_t u64() { return get<uint64_t>(); }
  /// Points into the message.
  std::string_view text() {
    size_t length = u16();
    if (!has(length)) return {};
    std::string_view value(reinterpret_cast<const char*>(bytes_.data() + at_), length);
    at_ += length;
    return value;
  }
  Qid qid() {
    Qid qid;
    qid.type = u8();
    qid.version = u32();
    qid.path = u64();
    return qid;
  }
  /// A time: seconds, nanoseconds.
  int64_t time() {
    constexpr int64_t kSecond = 1'000'000'000;
    auto seconds = static_cast<int64_t>(u64());
    auto nanoseconds = static_cast<int64_t>(u64());
    int64_t result;
    if (__builtin_mul_overflow(seconds, kSecond, &result) ||
        __builtin_add_overflow(result, nanoseconds, &result))
      return 0;
    return result;
  }
  void skip(size_t count) {
    if (has(count)) at_ += count;
  }
  /// Points into the message; empty past its end.
  std::span<const std::byte> take(size_t count) {
    if (!has(count)) return {};
    at_ += count;
    return bytes_.subspan(at_ - count, count);
  }
  [[nodiscard]] size_t left() const { return bytes_.size() - at_; }
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  bool has(size_t count) {
    if (count > left()) failed_ = true;
    return !failed_;
  }
  template <typename T>
  T get() {
    if (!has(sizeof(T))) return 0;
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i)
      value = static_cast<T>(value | T{static_cast<uint8_t>(bytes_[at_ + i])} << (8 * i));
    at_ += sizeof(T);
    return value;
  }

  std::span<const std::byte> bytes_;
  size_t at_ = 0;
  bool failed_ = false;
};

}  // namespace aril::ninep
