#pragma once
#include <array>
#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "base/ninep_protocol.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "fs/vfs/file_system.hpp"
#include "kernel/io/devices.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "kernel/sync/spin_lock.hpp"
#include "kernel/vm/io_buffer.hpp"

namespace aril::ninep {

class Client;

/// A number by which the server knows a file of ours. The last reference tells the server to forget
/// it, which sleeps.
class Fid final : public RefCounted {
 public:
  ~Fid();
  [[nodiscard]] uint32_t number() const { return number_; }

 private:
  friend class Client;
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  Fid(RefPtr<Client> client, uint32_t number) : client_(std::move(client)), number_(number) {}
  const RefPtr<Client> client_;
  const uint32_t number_;
  bool known_ = false;  // to the server; by whoever holds the only reference
};

/// A session with a 9P2000.L server: one call for each message. Any number of threads call at once;
/// each sleeps until its answer is there. Answers are not trusted: sizes, types, tags and every
/// length in them are checked, and a message that breaks the rules is counted and becomes kIo. The
/// server's own errors are passed on.
class Client final : public RefCounted {
 public:
  /// Linux's default for large transfers: a payload of 128 KiB in one message.
  static constexpr size_t kMaxPayload = size_t{128} << 10;

  explicit Client(MessageDevice& device) : device_(device) {}
  ~Client();

  /// Agrees on version and message size, and attaches to the server's root. kProto when the server
  /// does not speak 9P2000.L.
  Result<RefPtr<Fid>> connect();

  /// The file `name` in the directory; with an empty name a fid of the same file. kNoEnt.
  Result<RefPtr<Fid>> walk(const Fid& from, std::string_view name = {});
  Result<Attributes> attributes(const Fid& fid);
  Result<void> set_attributes(const Fid& fid, const AttributeRequest& request);
  /// Makes the fid usable for reading and writing. `flags` are open(2)'s.
  Result<void> open(const Fid& fid, uint32_t flags);
  Result<void> sync(const Fid& fid);
  Result<vfs::FileSystemStatus> file_system_status(const Fid& fid);

  // Names, in a directory.
  Result<void> make_node(const Fid& directory, std::string_view name, uint32_t mode,
                         uint64_t device, uint32_t gid);
  Result<void> make_directory(const Fid& directory, std::string_view name, uint32_t mode,
                              uint32_t gid);
  Result<void> make_symlink(const Fid& directory, std::string_view name, std::string_view target,
                            uint32_t gid);
  Result<void> link(const Fid& directory, const Fid& file, std::string_view name);
  enum class Kind : uint8_t { kFile, kDirectory };
  Result<void> unlink(const Fid& directory, std::string_view name, Kind kind);
  Result<void> rename(const Fid& directory, std::string_view name, const Fid& new_directory,
                      std::string_view new_name);
  Result<std::string> read_link(const Fid& fid);

  struct Entry {
    Qid qid;
    uint64_t next_offset;
    uint8_t type;
    std::string_view name;
  };
  /// Tells `take` of the entries after `offset` (0 or an entry's next_offset), until it returns
  /// false. Zero entries: the end.
  template <typename Take>
  Result<size_t> read_directory(const Fid& open_directory, uint64_t offset, Take take);

  // Contents of an open fid. `segments` together at most kMaxPayload. The count that was moved; an
  // error only when nothing was.
  using Segment = MessageDevice::Segment;
  Result<size_t> read(const Fid& fid, uint64_t offset, std::span<const Segment> segments);
  Result<size_t> write(const Fid& fid, uint64_t offset, std::span<const Segment> segments);
  /// The same for any memory and length, through pages of our own.
  Result<size_t> read(const Fid& fid, uint64_t offset, IoBuffer& buffer);
  Result<size_t> write(const Fid& fid, uint64_t offset, IoBuffer& buffer);

  // Extended attributes.
  /// A fid to read the value of `name` from (the list of names when it is empty), and its size.
  struct XattrFid {
    RefPtr<Fid> fid;
    uint64_t size;
  };
  Result<XattrFid> open_xattr(const Fid& file, std::string_view name);
  /// An empty value removes it. `flags`: XATTR_CREATE, XATTR_REPLACE.
  Result<void> set_xattr(const Fid& file, std::string_view name, std::span<const std::byte> value,
                         uint32_t flags);

  /// Answers that broke the protocol.
  [[nodiscard]] uint64_t violations() const { return violations_.load(std::memory_order_relaxed); }

 private:
  friend class Fid;
  /// Room for a message and for an answer, and the tag that goes with it.
  struct Call {
    uint16_t tag = 0;
    PhysicalAddress memory = 0;
    [[nodiscard]] std::span<std::byte> message() const;
    [[nodiscard]] std::span<std::byte> answer() const;
  };
  /// A Call for the length of a scope.
  class CallHolder {
   public:
    explicit CallHolder(Client& client) : client_(client) {}
    ~CallHolder();
    CallHolder(const CallHolder&) = delete;
    CallHolder& operator=(const CallHolder&) = delete;
    Result<void> take();
    Call& operator*() { return *call_; }
    Call* operator->() { return call_; }

   private:
    Client& client_;
    Call* call_ = nullptr;
  };

  /// Sends a message of this type whose fields `fill` writes, and gives a Reader of its answer's
  /// fields to `parse`, which may fail it.
  template <typename Fill, typename Parse>
  Result<void> call(Type type, Fill fill, Parse parse, uint16_t tag_override = 0);
  template <typename Fill>
  Result<void> call(Type type, Fill fill) {
    return call(type, fill, [](Reader&) {});
  }
  Result<std::span<const std::byte>> check(std::span<const std::byte> answer, size_t received,
                                           Type type, uint16_t tag);
  Result<size_t> transfer(Type type, const Fid& fid, uint64_t offset,
                          std::span<const Segment> segments);
  Result<Call*> take_call();
  void give_back(Call& call);
  Result<RefPtr<Fid>> new_fid();
  void forget(const Fid& fid);
  Failure violation();

  static constexpr size_t kMessageRoom = 8192, kAnswerRoom = 8192;
  static constexpr unsigned kCallOrder = 2;  // both together: four pages
  static constexpr uint16_t kCalls = 16;

  MessageDevice& device_;
  size_t max_payload_ = 0;
  std::atomic<uint64_t> violations_{0};
  SpinLock lock_{LockRank::kSpinLeaf};
  WaitQueue call_given_back_;
  std::array<Call, kCalls> calls_{};
  std::array<Call*, kCalls> free_calls_{};
  uint16_t free_call_count_ = 0;
  uint32_t next_fid_ = 0;
  std::array<uint32_t, 256> free_fids_{};
  size_t free_fid_count_ = 0;
};

/// Contiguous pages for as much of `wanted` bytes as there is memory for.
class BouncePages {
 public:
  explicit BouncePages(size_t wanted);
  ~BouncePages();
  BouncePages(const BouncePages&) = delete;
  BouncePages& operator=(const BouncePages&) = delete;
  /// Empty when memory is short.
  [[nodiscard]] std::span<std::byte> bytes() const;
  [[nodiscard]] PhysicalAddress physical() const { return start_; }

 private:
  PhysicalAddress start_ = 0;
  unsigned order_ = 0;
};

template <typename Take>
Result<size_t> Client::read_directory(const Fid& open_directory, uint64_t offset, Take take) {
  constexpr size_t kRoom = 16384;
  BouncePages pages(kRoom);
  if (pages.bytes().empty()) return fail(Errno::kNoMem);
  auto room = static_cast<uint32_t>(std::min(pages.bytes().size(), max_payload_));
  Segment segment{pages.physical(), room};
  size_t count =
      ARIL_TRY(transfer(Type::kReadDirectory, open_directory, offset, std::span(&segment, 1)));
  Reader reader(pages.bytes().first(count));
  size_t entries = 0;
  while (reader.left() != 0) {
    Entry entry;
    entry.qid = reader.qid();
    entry.next_offset = reader.u64();
    entry.type = reader.u8();
    entry.name = reader.text();
    bool valid = !reader.failed() && !entry.name.empty() && entry.name.size() <= 255 &&
                 entry.name.find('/') == std::string_view::npos &&
                 entry.name.find('\0') == std::string_view::npos;
    if (!valid) return violation();
    ++entries;
    if (!take(entry)) break;
  }
  return entries;
}

}  // namespace aril::ninep
