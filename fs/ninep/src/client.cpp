#include "client.hpp"

#include <algorithm>

#include "kernel/log/log.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril::ninep {
namespace {

constexpr std::string_view kVersionName = "9P2000.L";
constexpr uint32_t kHighestError = 133;  // EHWPOISON

/// The server's error number as ours; what is none becomes kIo.
Errno error_from(uint32_t number) {
  if (number == 0 || number > kHighestError) return Errno::kIo;
  return static_cast<Errno>(number);
}

}  // namespace

Fid::~Fid() { client_->forget(*this); }

std::span<std::byte> Client::Call::message() const {
  return {arch::physical_to_virtual(memory), kMessageRoom};
}
std::span<std::byte> Client::Call::answer() const {
  return {arch::physical_to_virtual(memory) + kMessageRoom, kAnswerRoom};
}

Client::~Client() {
  for (Call& call : calls_) {
    if (call.memory != 0) page_allocator::free_block(call.memory, kCallOrder);
  }
}

Client::CallHolder::~CallHolder() {
  if (call_ != nullptr) client_.give_back(*call_);
}

Result<void> Client::CallHolder::take() {
  call_ = ARIL_TRY(client_.take_call());
  return {};
}

Result<Client::Call*> Client::take_call() {
  Call* call = nullptr;
  auto try_take = [&] {
    LockGuard hold(lock_);
    if (free_call_count_ == 0) return false;
    call = free_calls_[--free_call_count_];
    return true;
  };
  ARIL_TRY(call_given_back_.wait_until(try_take, Instant::never(), Interruptible::kNo));
  if (call->memory == 0) {
    Result<PhysicalAddress> memory = page_allocator::allocate_block(kCallOrder);
    if (!memory) {
      give_back(*call);
      return fail(memory.error());
    }
    call->memory = *memory;
  }
  return call;
}

void Client::give_back(Call& call) {
  {
    LockGuard hold(lock_);
    free_calls_[free_call_count_++] = &call;
  }
  call_given_back_.wake(1);
}

Failure Client::violation() {
  if (violations_.fetch_add(1, std::memory_order_relaxed) == 0)
    ARIL_LOG_WARNING("9p", "the server of volume %s breaks the protocol", device_.tag().data());
  return fail(Errno::kIo);
}

/// The fields of the answer, once its head is what it must be.
Result<std::span<const std::byte>> Client::check(std::span<const std::byte> answer, size_t received,
                                                 Type type, uint16_t tag) {
  Reader head(answer.first(std::min(received, answer.size())));
  size_t size = head.u32();
  uint8_t kind = head.u8();
  uint16_t echoed = head.u16();
  if (head.failed() || size < kHeaderSize || size > received || echoed != tag) return violation();
  std::span<const std::byte> fields =
      answer.first(std::min(size, answer.size())).subspan(kHeaderSize);
  if (kind == static_cast<uint8_t>(Type::kErrorReply)) {
    Reader reader(fields);
    uint32_t number = reader.u32();
    if (reader.failed()) return violation();
    return fail(error_from(number));
  }
  if (kind != static_cast<uint8_t>(type) + 1) return violation();
  return fields;
}

namespace {

/// Puts the head before fields that start at kHeaderSize; the whole message's size.
size_t write_head(std::span<std::byte> message, size_t fields, size_t extra, Type type,
                  uint16_t tag) {
  Writer head(message.first(kHeaderSize));
  head.u32(static_cast<uint32_t>(kHeaderSize + fields + extra))
      .u8(static_cast<uint8_t>(type))
      .u16(tag);
  return kHeaderSize + fields;
}

}  // namespace

template <typename Fill, typename Parse>
Result<void> Client::call(Type type, Fill fill, Parse parse, uint16_t tag_override) {
  CallHolder call(*this);
  ARIL_TRY(call.take());
  Writer fields(call->message().subspan(kHeaderSize));
  fill(fields);
  if (fields.failed()) return fail(Errno::kNameTooLong);
  uint16_t tag = tag_override != 0 ? tag_override : call->tag;
  size_t size = write_head(call->message(), fields.size(), 0, type, tag);
  Segment message{call->memory, static_cast<uint32_t>(size)};
  Segment answer{call->memory + kMessageRoom, kAnswerRoom};
  size_t received = ARIL_TRY(device_.exchange({&message, 1}, {&answer, 1}));
  Reader reader(ARIL_TRY(check(call->answer(), received, type, tag)));
  parse(reader);
  if (reader.failed()) return violation();
  return {};
}

Result<RefPtr<Fid>> Client::connect() {
  for (uint16_t i = 0; i < kCalls; ++i) {
    calls_[i].tag = static_cast<uint16_t>(i + 1);
    free_calls_[free_call_count_++] = &calls_[i];
  }
  uint32_t size = 0;
  bool speaks = false;
  constexpr size_t kHeadRoom = 4096;
  ARIL_TRY(call(
      Type::kVersion,
      [](Writer& out) { out.u32(uint32_t{kMaxPayload + kHeadRoom}).text(kVersionName); },
      [&](Reader& in) {
        size = in.u32();
        speaks = in.text() == kVersionName;
      },
      kNoTag));
  // Names, links and attributes must fit too.
  if (!speaks || size < kMessageRoom || size > kMaxPayload + kHeadRoom) return fail(Errno::kProto);
  max_payload_ = std::min<size_t>(size - 24, kMaxPayload);
  RefPtr<Fid> root = ARIL_TRY(new_fid());
  ARIL_TRY(call(
      Type::kAttach,
      [&](Writer& out) { out.u32(root->number()).u32(kNoFid).text("root").text("").u32(0); },
      [](Reader& in) { in.qid(); }));
  root->known_ = true;
  return root;
}

Result<RefPtr<Fid>> Client::new_fid() {
  uint32_t number;
  {
    LockGuard hold(lock_);
    if (free_fid_count_ != 0) {
      number = free_fids_[--free_fid_count_];
    } else {
      if (next_fid_ == kNoFid) return fail(Errno::kNFile);
      number = next_fid_++;
    }
  }
  return try_make_ref<Fid>(RefPtr<Client>(this), number);
}

// [9p2000.L] Whatever the server answers, the fid is gone.
void Client::forget(const Fid& fid) {
  if (fid.known_) (void)call(Type::kClunk, [&](Writer& out) { out.u32(fid.number()); });
  LockGuard hold(lock_);
  if (free_fid_count_ < free_fids_.size()) free_fids_[free_fid_count_++] = fid.number();
}

Result<RefPtr<Fid>> Client::walk(const Fid& from, std::string_view name) {
  RefPtr<Fid> fid = ARIL_TRY(new_fid());
  uint16_t steps = name.empty() ? 0 : 1;
  uint16_t taken = 0;
  ARIL_TRY(call(
      Type::kWalk,
      [&](Writer& out) {
        out.u32(from.number()).u32(fid->number()).u16(steps);
        if (steps != 0) out.text(name);
      },
      [&](Reader& in) {
        taken = in.u16();
        if (taken != 0) in.qid();
      }));
  if (taken > steps) return violation();
  if (taken < steps) return fail(Errno::kNoEnt);
  fid->known_ = true;
  return fid;
}

Result<Attributes> Client::attributes(const Fid& fid) {
  constexpr uint64_t kBasic = 0x7ff;  // P9_GETATTR_BASIC
  Attributes result;
  ARIL_TRY(call(
      Type::kGetAttributes, [&](Writer& out) { out.u32(fid.number()).u64(kBasic); },
      [&](Reader& in) {
        in.u64();  // which fields are valid: all of the basic ones are
        result.qid = in.qid();
        result.mode = in.u32();
        result.uid = in.u32();
        result.gid = in.u32();
        result.link_count = in.u64();
        result.device = in.u64();
        result.size = in.u64();
        result.block_size = in.u64();
        result.blocks = in.u64();
        result.access_ns = in.time();
        result.modify_ns = in.time();
        result.change_ns = in.time();
      }));
  if (static_cast<int64_t>(result.size) < 0) return violation();
  return result;
}

Result<void> Client::set_attributes(const Fid& fid, const AttributeRequest& request) {
  constexpr int64_t kSecond = 1'000'000'000;
  auto time = [](Writer& out, int64_t ns) {
    int64_t seconds = ns / kSecond - (ns % kSecond < 0 ? 1 : 0);
    out.u64(static_cast<uint64_t>(seconds)).u64(static_cast<uint64_t>(ns - seconds * kSecond));
  };
  return call(Type::kSetAttributes, [&](Writer& out) {
    out.u32(fid.number()).u32(request.valid).u32(request.mode).u32(request.uid).u32(request.gid);
    out.u64(request.size);
    time(out, request.access_ns);
    time(out, request.modify_ns);
  });
}

Result<void> Client::open(const Fid& fid, uint32_t flags) {
  return call(
      Type::kOpen, [&](Writer& out) { out.u32(fid.number()).u32(flags); },
      [](Reader& in) {
        in.qid();
        in.u32();
      });
}

Result<void> Client::sync(const Fid& fid) {
  return call(Type::kSync, [&](Writer& out) { out.u32(fid.number()).u32(0); });
}

Result<vfs::FileSystemStatus> Client::file_system_status(const Fid& fid) {
  constexpr uint64_t kMagic = 0x01021997;  // V9FS_MAGIC
  vfs::FileSystemStatus status;
  status.magic = kMagic;
  ARIL_TRY(call(
      Type::kStatFs, [&](Writer& out) { out.u32(fid.number()); },
      [&](Reader& in) {
        in.u32();  // the host's own type
        status.block_size = in.u32();
        status.blocks = in.u64();
        status.blocks_free = in.u64();
        in.u64();  // free for users
        status.files = in.u64();
        status.files_free = in.u64();
        in.u64();
        status.name_limit = in.u32();
      }));
  return status;
}

Result<void> Client::make_node(const Fid& directory, std::string_view name, uint32_t mode,
                               uint64_t device, uint32_t gid) {
  // [makedev(3)] as glibc packs it.
  auto major = static_cast<uint32_t>((device >> 8 & 0xfff) | (device >> 32 & ~uint64_t{0xfff}));
  auto minor = static_cast<uint32_t>((device & 0xff) | (device >> 12 & ~uint64_t{0xff}));
  return call(
      Type::kMakeNode,
      [&](Writer& out) {
        out.u32(directory.number()).text(name).u32(mode).u32(major).u32(minor).u32(gid);
      },
      [](Reader& in) { in.qid(); });
}

Result<void> Client::make_directory(const Fid& directory, std::string_view name, uint32_t mode,
                                    uint32_t gid) {
  return call(
      Type::kMakeDirectory,
      [&](Writer& out) { out.u32(directory.number()).text(name).u32(mode).u32(gid); },
      [](Reader& in) { in.qid(); });
}

Result<void> Client::make_symlink(const Fid& directory, std::string_view name,
                                  std::string_view target, uint32_t gid) {
  return call(
      Type::kSymlink,
      [&](Writer& out) { out.u32(directory.number()).text(name).text(target).u32(gid); },
      [](Reader& in) { in.qid(); });
}

Result<void> Client::link(const Fid& directory, const Fid& file, std::string_view name) {
  return call(Type::kLink,
              [&](Writer& out) { out.u32(directory.number()).u32(file.number()).text(name); });
}

Result<void> Client::unlink(const Fid& directory, std::string_view name, Kind kind) {
  constexpr uint32_t kRemoveDirectory = 0x200;  // AT_REMOVEDIR
  return call(Type::kUnlinkAt, [&](Writer& out) {
    out.u32(directory.number()).text(name).u32(kind == Kind::kDirectory ? kRemoveDirectory : 0);
  });
}

Result<void> Client::rename(const Fid& directory, std::string_view name, const Fid& new_directory,
                            std::string_view new_name) {
  return call(Type::kRenameAt, [&](Writer& out) {
    out.u32(directory.number()).text(name).u32(new_directory.number()).text(new_name);
  });
}

Result<std::string> Client::read_link(const Fid& fid) {
  std::string target;
  ARIL_TRY(call(
      Type::kReadLink, [&](Writer& out) { out.u32(fid.number()); },
      [&](Reader& in) { target = in.text(); }));
  if (target.find('\0') != std::string::npos) return violation();
  return target;
}

Result<Client::XattrFid> Client::open_xattr(const Fid& file, std::string_view name) {
  RefPtr<Fid> fid = ARIL_TRY(new_fid());
  uint64_t size = 0;
  ARIL_TRY(call(
      Type::kXattrWalk, [&](Writer& out) { out.u32(file.number()).u32(fid->number()).text(name); },
      [&](Reader& in) { size = in.u64(); }));
  fid->known_ = true;
  constexpr uint64_t kLimit = 65536;  // XATTR_SIZE_MAX, XATTR_LIST_MAX
  if (size > kLimit) return violation();
  return XattrFid{std::move(fid), size};
}

Result<void> Client::set_xattr(const Fid& file, std::string_view name,
                               std::span<const std::byte> value, uint32_t flags) {
  RefPtr<Fid> fid = ARIL_TRY(walk(file));
  ARIL_TRY(call(Type::kXattrCreate, [&](Writer& out) {
    out.u32(fid->number()).text(name).u64(value.size()).u32(flags);
  }));
  IoBuffer::Segment segment{reinterpret_cast<uint64_t>(value.data()), value.size()};
  IoBuffer buffer(std::span(&segment, 1), IoBuffer::Memory::kKernel);
  if (!value.empty() && ARIL_TRY(write(*fid, 0, buffer)) != value.size()) return fail(Errno::kIo);
  // The server takes the value when the fid is given up, and says then what it thinks of it.
  fid->known_ = false;
  return call(Type::kClunk, [&](Writer& out) { out.u32(fid->number()); });
}

}  // namespace aril::ninep
