#include <vector>

#include "fs/tmpfs/memory_inode.hpp"

namespace aril::tmpfs {

using vfs::DirectoryEmitter;
using vfs::Identity;
using vfs::Inode;
namespace mode = vfs::mode;

// A tree of any depth comes down level by level, not by recursion on the kernel's stack.
MemoryDirectory::~MemoryDirectory() {
  std::vector<RefPtr<MemoryInode>> doomed;
  by_cookie_.clear();
  for (auto& [name, entry] : entries_)
    if (entry.inode && entry.inode->is_directory()) doomed.push_back(std::move(entry.inode));
  entries_.clear();
  while (!doomed.empty()) {
    RefPtr<MemoryInode> inode = std::move(doomed.back());
    doomed.pop_back();
    if (inode->ref_count() != 1) continue;
    auto& directory = static_cast<MemoryDirectory&>(*inode);
    directory.by_cookie_.clear();
    for (auto& [name, entry] : directory.entries_)
      if (entry.inode && entry.inode->is_directory()) doomed.push_back(std::move(entry.inode));
  }
}

const MemoryDirectory::Entry* MemoryDirectory::find_entry(std::string_view name) const {
  auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

bool MemoryDirectory::has_no_own_files() const {
  for (const auto& [name, entry] : entries_)
    if (entry.inode) return false;
  return true;
}

Result<bool> MemoryDirectory::is_empty() { return has_no_own_files(); }

void MemoryDirectory::put(std::string_view name, RefPtr<MemoryInode> inode) {
  auto [place, added] = entries_.try_emplace(std::string(name));
  if (!added) by_cookie_.erase(place->second.cookie);
  place->second = Entry{std::move(inode), next_cookie_};
  by_cookie_.emplace(next_cookie_++, place);
  touch_modified();
  on_modified();
}

void MemoryDirectory::take_out(std::string_view name, bool whiteout) {
  if (whiteout) {
    put(name, nullptr);
    return;
  }
  auto found = entries_.find(name);
  if (found != entries_.end()) {
    by_cookie_.erase(found->second.cookie);
    entries_.erase(found);
  }
  touch_modified();
  on_modified();
}

Result<RefPtr<Inode>> MemoryDirectory::lookup(std::string_view name) {
  if (const Entry* entry = find_entry(name)) {
    if (!entry->inode) return fail(Errno::kNoEnt);
    return RefPtr<Inode>(entry->inode);
  }
  return lookup_lower(name);
}

Result<RefPtr<Inode>> MemoryDirectory::create(std::string_view name, uint32_t mode, uint64_t device,
                                              const Identity& owner) {
  RefPtr<MemoryInode> inode = ARIL_TRY(memory_file_system().make_inode(mode, device, owner));
  if (inode->is_directory()) change_link_count(1);
  put(name, inode);
  return inode;
}

Result<RefPtr<Inode>> MemoryDirectory::symlink(std::string_view name, std::string_view target,
                                               const Identity& owner) {
  RefPtr<MemoryInode> inode =
      ARIL_TRY(memory_file_system().make_inode(mode::kSymlink | 0777, 0, owner, target));
  put(name, inode);
  return inode;
}

Result<RefPtr<Inode>> MemoryDirectory::create_unnamed(uint32_t mode, const Identity& owner) {
  RefPtr<MemoryInode> inode = ARIL_TRY(memory_file_system().make_inode(mode, 0, owner));
  inode->link_count_.store(0, std::memory_order_relaxed);
  inode->linkable_.store(true, std::memory_order_relaxed);
  return inode;
}

Result<void> MemoryDirectory::link(std::string_view name, Inode& target) {
  static constexpr uint32_t kMaximumLinks = 65000;
  // Every inode of this file system is a MemoryInode, and link() never crosses file systems.
  auto& inode = static_cast<MemoryInode&>(target);
  if (inode.link_count() >= kMaximumLinks) return fail(Errno::kMLink);
  inode.linkable_.store(false, std::memory_order_relaxed);
  inode.change_link_count(1);
  put(name, RefPtr<MemoryInode>(&inode));
  return {};
}

Result<void> MemoryDirectory::unlink(std::string_view name, Inode& victim) {
  bool whiteout = ARIL_TRY(is_in_lower(name));
  // The entry's reference may be the last but the caller's.
  take_out(name, whiteout);
  static_cast<MemoryInode&>(victim).change_link_count(-1);
  return {};
}

Result<void> MemoryDirectory::rmdir(std::string_view name, Inode& victim) {
  auto& directory = static_cast<MemoryDirectory&>(victim);
  if (!ARIL_TRY(directory.is_empty())) return fail(Errno::kNotEmpty);
  bool whiteout = ARIL_TRY(is_in_lower(name));
  take_out(name, whiteout);
  change_link_count(-1);
  directory.change_link_count(-2);
  return {};
}

Result<void> MemoryDirectory::rename(std::string_view name, Inode& moved, Inode& target_parent,
                                     std::string_view target_name, Inode* replaced, bool exchange) {
  auto& to = static_cast<MemoryDirectory&>(target_parent);
  RefPtr<MemoryInode> source(&static_cast<MemoryInode&>(moved));
  RefPtr<MemoryInode> victim(static_cast<MemoryInode*>(replaced));
  bool whiteout = ARIL_TRY(is_in_lower(name));
  if (exchange) {
    put(name, victim);
    to.put(target_name, source);
    int difference = int{source->is_directory()} - int{victim->is_directory()};
    if (this != &to && difference != 0) {
      change_link_count(-difference);
      to.change_link_count(difference);
    }
    victim->touch_changed();
    source->touch_changed();
    victim->on_modified();
    source->on_modified();
    return {};
  }
  if (victim && victim->is_directory() &&
      !ARIL_TRY(static_cast<MemoryDirectory&>(*victim).is_empty()))
    return fail(Errno::kNotEmpty);
  to.put(target_name, source);
  take_out(name, whiteout);
  if (source->is_directory()) {
    change_link_count(-1);
    to.change_link_count(1);
  }
  if (victim) {
    if (victim->is_directory()) to.change_link_count(-1);
    victim->change_link_count(victim->is_directory() ? -2 : -1);
  }
  source->touch_changed();
  source->on_modified();
  return {};
}

Result<void> MemoryDirectory::read_directory(uint64_t offset, DirectoryEmitter& emitter) {
  if (offset < kUpperOffset && !ARIL_TRY(read_lower(offset, emitter))) return {};
  uint64_t first = offset < kUpperOffset ? 0 : offset - kUpperOffset;
  for (auto at = by_cookie_.lower_bound(first); at != by_cookie_.end(); ++at) {
    const auto& [name, entry] = *at->second;
    if (!entry.inode) continue;
    if (!emitter.emit(name, entry.inode->number(), mode::directory_type(entry.inode->mode()),
                      kUpperOffset + at->first + 1))
      return {};
  }
  return {};
}

}  // namespace aril::tmpfs
