#pragma once
#include <atomic>

#include "fs/overlay/overlay.hpp"

namespace aril::overlay {

/// The part of an overlay inode that knows its counterpart in the lower layer: a member of the
/// table of living inodes, and, once it differs from below, of the list of pinned ones.
class LowerLink {
 public:
  LowerLink(Overlay& overlay, tmpfs::MemoryInode& self, RefPtr<vfs::Inode> lower);
  ~LowerLink();
  LowerLink(const LowerLink&) = delete;
  LowerLink& operator=(const LowerLink&) = delete;

  [[nodiscard]] vfs::Inode& lower() const { return *lower_; }
  /// Keeps the inode although nobody may be using it.
  void pin();
  /// Its last name is gone: it goes with its last user.
  void unpin();

 private:
  friend class Overlay;
  Overlay& overlay_;
  tmpfs::MemoryInode& self_;
  const RefPtr<vfs::Inode> lower_;
  // Guarded by the overlay's live_lock_.
  LowerLink* next_live_ = nullptr;
  LowerLink* next_pinned_ = nullptr;
  LowerLink* previous_pinned_ = nullptr;
  std::atomic<bool> pinned_{false};
};

/// A MemoryInode, or one of its kinds, on top of a lower inode.
template <typename Base>
class Lowered : public Base {
 public:
  template <typename... Args>
  Lowered(Overlay& overlay, RefPtr<vfs::Inode> lower, Args&&... args)
      : Base(overlay, lower->number(), std::forward<Args>(args)...),
        link_(overlay, *this, std::move(lower)) {}

  /// Takes over the lower inode's attributes. Once, before the inode is shared.
  Result<void> copy_attributes() {
    FileStatus status = ARIL_TRY(link_.lower().status());
    this->link_count_.store(static_cast<uint32_t>(status.link_count), std::memory_order_relaxed);
    this->access_ns_.store(status.access_ns, std::memory_order_relaxed);
    this->modify_ns_.store(status.modify_ns, std::memory_order_relaxed);
    this->change_ns_.store(status.change_ns, std::memory_order_relaxed);
    this->birth_ns_.store(status.birth_ns, std::memory_order_relaxed);
    return {};
  }

  void change_link_count(int change) override {
    Base::change_link_count(change);
    if (this->link_count() == 0) link_.unpin();
  }

  Result<std::vector<std::byte>> get_xattr(std::string_view name) override {
    if (xattrs_copied()) return Base::get_xattr(name);
    return link_.lower().get_xattr(name);
  }
  Result<std::string> list_xattrs() override {
    if (xattrs_copied()) return Base::list_xattrs();
    return link_.lower().list_xattrs();
  }
  Result<void> set_xattr(std::string_view name, std::span<const std::byte> value,
                         vfs::XattrFlags flags) override {
    ARIL_TRY(copy_xattrs());
    return Base::set_xattr(name, value, flags);
  }
  Result<void> remove_xattr(std::string_view name) override {
    ARIL_TRY(copy_xattrs());
    return Base::remove_xattr(name);
  }

 protected:
  void on_modified() override {
    if (this->link_count() != 0) link_.pin();
  }
  LowerLink& lower_link() { return link_; }
  const LowerLink& lower_link() const { return link_; }

 private:
  bool xattrs_copied() {
    LockGuard guard(this->mutex());
    return this->xattrs_ != nullptr;
  }

  /// With the first change all of the lower layer's attributes become the overlay's own.
  Result<void> copy_xattrs() {
    if (xattrs_copied()) return {};
    std::unique_ptr<typename Base::Xattrs> copies(new (std::nothrow) typename Base::Xattrs);
    if (!copies) return fail(Errno::kNoMem);
    std::string names = ARIL_TRY(link_.lower().list_xattrs());
    for (size_t at = 0; at < names.size();) {
      std::string name(names.c_str() + at);
      at += name.size() + 1;
      std::vector<std::byte> value = ARIL_TRY(link_.lower().get_xattr(name));
      copies->emplace(std::move(name), std::move(value));
    }
    LockGuard guard(this->mutex());
    if (!this->xattrs_) this->xattrs_ = std::move(copies);
    return {};
  }

  LowerLink link_;
};

}  // namespace aril::overlay
