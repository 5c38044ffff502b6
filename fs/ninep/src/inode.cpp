#include "inode.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "stand_in.hpp"

namespace aril::ninep {

using vfs::AttributeChange;

NinepInode::NinepInode(Volume& volume, RefPtr<Fid> fid, Place place, const Attributes& attributes)
    : Inode(volume, attributes.qid.path, attributes.mode),
      fid_(std::move(fid)),
      place_(std::move(place)),
      state_(adopt_ref(new FileState)) {
  special_device_ = attributes.device;
  take(attributes);
}

NinepInode::~NinepInode() {
  volume().forget(*this);
  if (cache_ && !cache_settled_) (void)cache_->write_back();
}

RefPtr<Fid> NinepInode::fid() const {
  LockGuard hold(lock_);
  return fid_;
}

void NinepInode::take(const Attributes& attributes) {
  mode_.store(attributes.mode, std::memory_order_relaxed);
  uid_.store(attributes.uid, std::memory_order_relaxed);
  gid_.store(attributes.gid, std::memory_order_relaxed);
  link_count_.store(static_cast<uint32_t>(attributes.link_count), std::memory_order_relaxed);
  access_ns_.store(attributes.access_ns, std::memory_order_relaxed);
  modify_ns_.store(attributes.modify_ns, std::memory_order_relaxed);
  change_ns_.store(attributes.change_ns, std::memory_order_relaxed);
  blocks_.store(attributes.blocks, std::memory_order_relaxed);
  is_stand_in_.store(attributes.is_stand_in, std::memory_order_relaxed);
  RefPtr<PageCache> cache;
  {
    LockGuard hold(lock_);
    cache = cache_;
  }
  // Pages that wait to be written may be ahead of the server.
  uint64_t size = attributes.size;
  if (cache && cache->has_mappings()) size = std::max(size, state_->size.load());
  state_->size.store(size, std::memory_order_relaxed);
}

void NinepInode::adopt(RefPtr<Fid> fid, Place place, const Attributes& attributes) {
  {
    LockGuard hold(lock_);
    std::swap(fid_, fid);  // the old ones go without the lock
    std::swap(place_, place);
  }
  nameless_.store(false, std::memory_order_relaxed);
  take(attributes);
}

void NinepInode::set_place(Place place) {
  LockGuard hold(lock_);
  std::swap(place_, place);
}

Result<void> NinepInode::refresh() {
  if (is_nameless()) return {};
  Result<Attributes> attributes = stand_in::attributes(client(), *fid());
  if (attributes) {
    // Another file took the name on the host: this one is as it was.
    bool same =
        attributes->qid.path == number() && (attributes->mode & vfs::mode::kTypeMask) == type();
    if (same) take(*attributes);
    return {};
  }
  // Removed on the host while somebody here has it open.
  if (attributes.error() == Errno::kNoEnt) return {};
  return fail(attributes.error());
}

void NinepInode::lost_name() {
  uint32_t links = link_count();
  link_count_.store(links > 1 && !is_directory() ? links - 1 : 0, std::memory_order_relaxed);
  // What is left of the file has another name, which the fid does not know: looking that up brings
  // a new one.
  nameless_.store(true, std::memory_order_relaxed);
  if (link_count() == 0) volume().forget(*this);
}

Result<FileStatus> NinepInode::status() {
  RefPtr<PageCache> cache;
  {
    LockGuard hold(lock_);
    cache = cache_;
  }
  if (is_nameless()) {
    note_stores(cache.get());
  } else if (cache && cache->take_store_time()) {
    // The server sets the time stamps when it gets what mappings have stored.
    (void)cache->write_back();
  }
  ARIL_TRY(refresh());
  FileStatus status = ARIL_TRY(Inode::status());
  status.blocks_512 = blocks_.load(std::memory_order_relaxed);
  return status;
}

Result<void> NinepInode::set_attributes(const AttributeChange& change) {
  // What mappings have stored was stored before: the server would set its time stamps later.
  if (is_regular()) (void)write_back();
  AttributeRequest request;
  if (change.mode) {
    request.valid |= kSetMode;
    request.mode = type() | (*change.mode & vfs::mode::kPermissions);
    if (is_stand_in_.load(std::memory_order_relaxed))
      request.mode = stand_in::server_mode(request.mode);
  }
  if (change.uid) {
    request.valid |= kSetUid;
    request.uid = *change.uid;
  }
  if (change.gid) {
    request.valid |= kSetGid;
    request.gid = *change.gid;
  }
  if (change.access_ns) {
    request.valid |= kSetAccess | kSetAccessTo;
    request.access_ns = *change.access_ns;
  }
  if (change.modify_ns) {
    request.valid |= kSetModify | kSetModifyTo;
    request.modify_ns = *change.modify_ns;
  }
  if (!is_nameless()) ARIL_TRY(client().set_attributes(*fid(), request));
  return Inode::set_attributes(change);
}

namespace {

/// Of open(2), as the server knows them.
constexpr uint32_t kOpenReadOnly = 0;

}  // namespace

Result<RefPtr<PageCache>> NinepInode::make_cache() {
  std::unique_ptr<FileBacking> backing(new (std::nothrow) FileBacking(volume().client(), state_));
  if (!backing) return fail(Errno::kNoMem);
  FileBacking* raw = backing.get();
  RefPtr<PageCache> cache =
      ARIL_TRY(PageCache::create_owning(std::move(backing), state_->size.load(), ""));
  RefPtr<PageCache> old;
  {
    LockGuard hold(lock_);
    old = std::exchange(cache_, cache);
    backing_ = raw;
    cached_modify_ns_ = modify_ns_.load(std::memory_order_relaxed);
    cached_size_ = state_->size.load();
  }
  return cache;
}

Result<RefPtr<PageCache>> NinepInode::mapping(const RefPtr<Fid>& reader,
                                              const RefPtr<Fid>& writer) {
  ARIL_TRY(refresh());
  RefPtr<PageCache> cache = ARIL_TRY(mapped_cache());
  if (!cache) {
    {
      LockGuard hold(lock_);
      // What was read for an earlier mapping holds as long as the file has not changed.
      bool same = cached_modify_ns_ == modify_ns_.load(std::memory_order_relaxed) &&
                  cached_size_ == state_->size.load();
      if (same) cache = cache_;
    }
    if (!cache) cache = ARIL_TRY(make_cache());
  } else if (cache->size() < state_->size.load()) {
    ARIL_TRY(cache->resize(state_->size.load()));
  }
  FileBacking* backing;
  {
    LockGuard hold(lock_);
    if (cache_ != cache) return fail(Errno::kAgain);
    backing = backing_;
    if (writer) cache_settled_ = false;
  }
  // `cache`, which we hold, owns it.
  backing->add_fids(reader, writer);
  return cache;
}

Result<RefPtr<PageCache>> NinepInode::mapped_cache() {
  RefPtr<PageCache> cache;
  bool settled;
  {
    LockGuard hold(lock_);
    cache = cache_;
    settled = cache_settled_;
  }
  if (!cache) return RefPtr<PageCache>();
  if (cache->has_mappings()) return cache;
  if (!settled) {
    ARIL_TRY(cache->write_back());
    LockGuard hold(lock_);
    if (cache_ == cache) cache_settled_ = true;
  }
  return RefPtr<PageCache>();
}

Result<void> NinepInode::write_back() {
  RefPtr<PageCache> cache = ARIL_TRY(mapped_cache());
  if (cache) return cache->write_back();
  return {};
}

// For those who have no open file of their own: sendfile and the loader of programs.
Result<RefPtr<PageCache>> NinepInode::page_cache(PageAccess access) {
  if (!is_regular()) return fail(Errno::kInval);
  if (access == PageAccess::kWrite) return fail(Errno::kInval);
  RefPtr<Fid> reader = ARIL_TRY(client().walk(*fid()));
  ARIL_TRY(client().open(*reader, kOpenReadOnly));
  return mapping(reader, nullptr);
}

Result<size_t> NinepInode::read(const Fid& fid, uint64_t offset, IoBuffer& buffer) {
  if (RefPtr<PageCache> cache = ARIL_TRY(mapped_cache())) return cache->read(buffer, offset);
  if (is_nameless()) {
    // The server may still have what was cut off here.
    uint64_t size = state_->size.load();
    if (offset >= size) return size_t{0};
    buffer.truncate(size - offset);
  }
  return client().read(fid, offset, buffer);
}

Result<size_t> NinepInode::write(const RefPtr<Fid>& fid, uint64_t offset, IoBuffer& buffer) {
  size_t count;
  if (RefPtr<PageCache> cache = ARIL_TRY(mapped_cache())) {
    FileBacking* backing;
    {
      LockGuard hold(lock_);
      backing = cache_ == cache ? backing_ : nullptr;
    }
    if (backing != nullptr) backing->add_fids(nullptr, fid);
    count = ARIL_TRY(cache->write(buffer, offset));
    if (offset + count > state_->size.load()) state_->size.store(offset + count);
    ARIL_TRY(cache->write_back());
  } else {
    count = ARIL_TRY(client().write(*fid, offset, buffer));
    if (offset + count > state_->size.load()) state_->size.store(offset + count);
    LockGuard hold(lock_);
    cached_size_ = ~uint64_t{0};  // what cache_ holds is old
  }
  touch_modified();
  return count;
}

Result<size_t> NinepInode::write_locked(IoBuffer& buffer, uint64_t offset) {
  constexpr uint32_t kWriteOnly = 1;
  RefPtr<Fid> writer = ARIL_TRY(client().walk(*fid()));
  ARIL_TRY(client().open(*writer, kWriteOnly));
  return write(writer, offset, buffer);
}

// 9P has no message for it.
Result<void> NinepInode::allocate_locked(uint32_t, uint64_t, uint64_t) {
  return fail(Errno::kOpNotSupp);
}

Result<void> NinepInode::resize_locked(uint64_t size) {
  if (!is_regular()) return fail(Errno::kInval);
  RefPtr<PageCache> cache = ARIL_TRY(mapped_cache());
  if (!is_nameless()) {
    ARIL_TRY(client().set_attributes(*fid(), {.valid = kSetSize, .size = size}));
  }
  state_->size.store(size);
  if (cache) ARIL_TRY(cache->resize(size));
  {
    LockGuard hold(lock_);
    cached_size_ = ~uint64_t{0};
  }
  touch_modified();
  return {};
}

Result<void> NinepInode::resize(const Fid& fid, uint64_t size) {
  uint64_t old = state_->size.load();
  if (is_nameless()) {
    // The server cannot be told the size of a file without a name. It keeps what is cut off here,
    // as zeroes, and a file that grows gets its last byte.
    static constinit const std::array<std::byte, kPageSize> kZeroes{};
    uint64_t from = size < old ? size : size - std::min<uint64_t>(size - old, 1);
    uint64_t to = std::max(size, old);
    while (from < to) {
      IoBuffer::Segment segment{reinterpret_cast<uint64_t>(kZeroes.data()),
                                std::min<uint64_t>(kZeroes.size(), to - from)};
      IoBuffer zeroes(std::span(&segment, 1), IoBuffer::Memory::kKernel);
      size_t written = ARIL_TRY(client().write(fid, from, zeroes));
      if (written == 0) return fail(Errno::kIo);
      from += written;
    }
  }
  return resize_locked(size);
}

Result<std::vector<std::byte>> NinepInode::get_xattr(std::string_view name) {
  if (name.starts_with(stand_in::kHiddenXattrs)) return fail(Errno::kNoData);
  Client::XattrFid value = ARIL_TRY(client().open_xattr(*fid(), name));
  std::vector<std::byte> bytes(value.size);
  IoBuffer::Segment segment;
  IoBuffer buffer = IoBuffer::kernel(segment, bytes);
  bytes.resize(ARIL_TRY(client().read(*value.fid, 0, buffer)));
  return bytes;
}

Result<void> NinepInode::set_xattr(std::string_view name, std::span<const std::byte> value,
                                   vfs::XattrFlags flags) {
  if (name.starts_with(stand_in::kHiddenXattrs)) return fail(Errno::kAcces);
  // To the server an empty value means to remove the attribute.
  if (value.empty()) return fail(Errno::kOpNotSupp);
  return client().set_xattr(*fid(), name, value, static_cast<uint32_t>(flags));
}

Result<void> NinepInode::remove_xattr(std::string_view name) {
  if (name.starts_with(stand_in::kHiddenXattrs)) return fail(Errno::kAcces);
  ARIL_TRY(client().open_xattr(*fid(), name));  // kNoData when there is none
  return client().set_xattr(*fid(), name, {}, 0);
}

Result<std::string> NinepInode::list_xattrs() {
  Client::XattrFid names = ARIL_TRY(client().open_xattr(*fid(), ""));
  std::string text(names.size, '\0');
  IoBuffer::Segment segment;
  IoBuffer buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(text)));
  text.resize(ARIL_TRY(client().read(*names.fid, 0, buffer)));
  if (!text.empty() && text.back() != '\0') return fail(Errno::kIo);
  for (size_t at = 0; at < text.size();) {
    size_t length = text.find('\0', at) + 1 - at;
    if (std::string_view(text).substr(at, length).starts_with(stand_in::kHiddenXattrs)) {
      text.erase(at, length);
    } else {
      at += length;
    }
  }
  return text;
}

}  // namespace aril::ninep
