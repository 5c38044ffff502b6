#include <algorithm>
#include <cstring>

#include "extents.hpp"
#include "fs/vfs/lookup.hpp"
#include "inode.hpp"

// Operations on names: each is one Operation, so that a crash shows it done or not done.
namespace aril::ext4 {

namespace mode = vfs::mode;

namespace {

constexpr uint32_t kLinkLimit = 65000;

void encode_device(Node& node, uint64_t device) {
  uint32_t major = mode::major_of(device), minor = mode::minor_of(device);
  format::Le32 words[2] = {};
  if (major < 256 && minor < 256) {
    words[0] = major << 8 | minor;
  } else {
    words[1] = (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
  }
  std::memcpy(node.raw.block, words, sizeof words);
}

}  // namespace

Result<RefPtr<vfs::Inode>> Ext4Inode::lookup(std::string_view name) {
  if (!is_directory()) return fail(Errno::kNotDir);
  RefPtr<Node> node;
  bool is_valid = true;
  {
    LockGuard hold(volume().lock());
    Directory::Found found = ARIL_TRY(Directory(*node_).find(name));
    node = ARIL_TRY(volume().node_locked(found.inode));
    if (node->links() == 0 || node->mode() == 0) {
      Volume::report_corruption("a name leads to a deleted file", found.inode);
      is_valid = false;
    }
  }
  if (!is_valid) return fail(Errno::kIo);
  return of(ext4(), std::move(node));
}

/// A new node with its first attributes; no name yet.
Result<void> Ext4Inode::make_locked(std::string_view name, uint32_t mode,
                                    const vfs::Identity& owner, RefPtr<Node>& node) {
  if (name.size() > vfs::kNameLimit) return fail(Errno::kNameTooLong);
  ARIL_TRY(volume().require_space_locked());
  ARIL_TRY(volume().create_node_locked(*node_, mode, node));
  node->set_owner(owner.uid, owner.gid);
  return {};
}

/// Gives a new node its name. When there is no room for it, the node is deleted with its last user.
Result<void> Ext4Inode::enter_locked(std::string_view name, Node& node) {
  Result<void> added = Directory(*node_).add(name, node.number(), entry_type_of(node.mode()));
  if (!added) {
    if (added.error() != Errno::kNoSpc) return added;
    node.raw.links = 0;
    ARIL_TRY(volume().add_orphan_locked(node));
  }
  ARIL_TRY(volume().mark_dirty_locked(node));
  load_locked();
  return added;
}

Result<RefPtr<vfs::Inode>> Ext4Inode::create(std::string_view name, uint32_t mode, uint64_t device,
                                             const vfs::Identity& owner) {
  RefPtr<Node> node;
  bool is_new_directory = (mode & mode::kTypeMask) == mode::kDirectory;
  Operation operation(volume());
  ARIL_TRY(operation.begin());
  if (is_new_directory) ARIL_TRY(check_link_limit(*node_));
  ARIL_TRY(make_locked(name, mode, owner, node));
  if (device != 0) encode_device(*node, device);
  node->raw.links = 1;
  if (is_new_directory) {
    node->raw.links = 2;
    ARIL_TRY(Directory(*node).make(node_->number()));
  }
  Result<void> entered = enter_locked(name, *node);
  if (entered && is_new_directory) ARIL_TRY(change_directory_links_locked(*node_, 1));
  load_locked();
  // Without room the new node is on the orphan list: consistent too.
  if (entered || entered.error() == Errno::kNoSpc) operation.done();
  if (!entered) return fail(entered.error());
  return of(ext4(), std::move(node));
}

Result<void> Ext4Inode::set_link_target(Node& node, std::string_view target) {
  if (target.size() < sizeof node.raw.block) {
    std::memcpy(node.raw.block, target.data(), target.size());
  } else {
    ExtentTree(node).initialize();
    for (uint32_t at = 0; at * size_t{volume().block_size()} < target.size(); ++at) {
      uint64_t block;
      BufferRef buffer =
          ARIL_TRY(volume().allocate_metadata_locked(volume().goal_of(node.number()), block));
      std::byte* data = ARIL_TRY(volume().journal().modify(buffer));
      std::string_view part =
          target.substr(at * size_t{volume().block_size()}, volume().block_size());
      std::memcpy(data, part.data(), part.size());
      ARIL_TRY(ExtentTree(node).insert(at, block, 1, Mapping::Kind::kWritten));
      node.add_blocks(1);
    }
  }
  node.set_size(target.size());
  return {};
}

Result<RefPtr<vfs::Inode>> Ext4Inode::symlink(std::string_view name, std::string_view target,
                                              const vfs::Identity& owner) {
  // [symlink(7)] One block holds the text and a NUL.
  if (target.size() >= volume().block_size()) return fail(Errno::kNameTooLong);
  RefPtr<Node> node;
  Operation operation(volume());
  ARIL_TRY(operation.begin());
  ARIL_TRY(make_locked(name, mode::kSymlink | 0777, owner, node));
  node->raw.links = 1;
  ARIL_TRY(set_link_target(*node, target));
  Result<void> entered = enter_locked(name, *node);
  if (entered || entered.error() == Errno::kNoSpc) operation.done();
  if (!entered) return fail(entered.error());
  return of(ext4(), std::move(node));
}

Result<std::string> Ext4Inode::read_link() {
  if (!is_symlink()) return fail(Errno::kInval);
  LockGuard hold(volume().lock());
  uint64_t size = node_->size();
  if (size == 0 || size >= vfs::kPathLimit) {
    Volume::report_corruption("a symbolic link's size makes no sense", number());
    return fail(Errno::kIo);
  }
  std::string text;
  if (!node_->has_flag(format::kInodeExtents)) {
    if (size >= sizeof node_->raw.block) return fail(Errno::kIo);
    text.assign(reinterpret_cast<const char*>(node_->raw.block), size);
  } else {
    for (uint32_t at = 0; text.size() < size; ++at) {
      Mapping mapping = ARIL_TRY(ExtentTree(*node_).find(at));
      if (mapping.kind != Mapping::Kind::kWritten) return fail(Errno::kIo);
      BufferRef buffer = ARIL_TRY(volume().buffers().get(mapping.start));
      text.append(reinterpret_cast<const char*>(buffer->data()),
                  std::min<size_t>(volume().block_size(), size - text.size()));
    }
  }
  if (text.contains('\0')) return fail(Errno::kIo);
  return text;
}

Result<void> Ext4Inode::check_link_limit(const Node& node) const {
  bool unlimited =
      node.is_directory() && (volume().superblock().feature_ro_compat & format::kRoDirNlink) != 0;
  return node.links() >= kLinkLimit && !unlimited ? fail(Errno::kMLink) : Result<void>();
}

/// A subdirectory came (1) or went (-1). [ext4.rst] With dir_nlink, 1 stands for "many".
Result<void> Ext4Inode::change_directory_links_locked(Node& node, int change) {
  uint32_t links = node.links();
  if (change > 0) {
    if (links >= 2) links = links + 1 >= kLinkLimit ? 1 : links + 1;
  } else if (links > 2) {
    --links;
  }
  node.raw.links = static_cast<uint16_t>(links);
  if (node.face != nullptr) node.face->load_locked();
  return volume().mark_dirty_locked(node);
}

/// A name of the node is gone; `all`: a directory's last one.
Result<void> Ext4Inode::drop_link_locked(Node& node, bool all) {
  uint32_t links = node.links();
  node.raw.links = static_cast<uint16_t>(all || links == 0 ? 0 : links - 1);
  node.set_time(Node::Time::kChange, vfs::wall_clock_ns());
  if (node.raw.links == 0) ARIL_TRY(volume().add_orphan_locked(node));
  if (node.face != nullptr) node.face->load_locked();
  return volume().mark_dirty_locked(node);
}

Result<void> Ext4Inode::link(std::string_view name, vfs::Inode& target) {
  Node& node = *of(target).node_;
  Operation operation(volume());
  ARIL_TRY(operation.begin());
  ARIL_TRY(check_link_limit(node));
  ARIL_TRY(volume().require_space_locked());
  Result<void> added = Directory(*node_).add(name, node.number(), entry_type_of(node.mode()));
  if (added) {
    node.raw.links = static_cast<uint16_t>(node.links() + 1);
    node.set_time(Node::Time::kChange, vfs::wall_clock_ns());
    ARIL_TRY(volume().remove_orphan_locked(node));
    ARIL_TRY(volume().mark_dirty_locked(node));
    of(target).load_locked();
    load_locked();
  }
  if (added || added.error() == Errno::kNoSpc) operation.done();
  return added;
}

Result<void> Ext4Inode::unlink(std::string_view name, vfs::Inode& victim) {
  Operation operation(volume());
  ARIL_TRY(operation.begin());
  ARIL_TRY(Directory(*node_).remove(name));
  ARIL_TRY(drop_link_locked(*of(victim).node_, false));
  load_locked();
  operation.done();
  return {};
}

Result<void> Ext4Inode::rmdir(std::string_view name, vfs::Inode& victim) {
  Operation operation(volume());
  ARIL_TRY(operation.begin());
  Node& node = *of(victim).node_;
  if (!ARIL_TRY(Directory(node).is_empty())) return fail(Errno::kNotEmpty);
  ARIL_TRY(Directory(*node_).remove(name));
  ARIL_TRY(drop_link_locked(node, true));
  ARIL_TRY(change_directory_links_locked(*node_, -1));
  load_locked();
  operation.done();
  return {};
}

Result<void> Ext4Inode::exchange_locked(std::string_view name, Ext4Inode& moved,
                                        Ext4Inode& target_parent, std::string_view target_name,
                                        Ext4Inode& other) {
  Node& a = *moved.node_;
  Node& b = *other.node_;
  ARIL_TRY(Directory(*node_).replace(name, b.number(), entry_type_of(b.mode())));
  ARIL_TRY(
      Directory(*target_parent.node_).replace(target_name, a.number(), entry_type_of(a.mode())));
  if (node_ == target_parent.node_) return {};
  int change = (b.is_directory() ? 1 : 0) - (a.is_directory() ? 1 : 0);
  if (a.is_directory()) ARIL_TRY(Directory(a).set_parent(target_parent.node_->number()));
  if (b.is_directory()) ARIL_TRY(Directory(b).set_parent(node_->number()));
  if (change == 0) return {};
  ARIL_TRY(change_directory_links_locked(*node_, change));
  return change_directory_links_locked(*target_parent.node_, -change);
}

Result<void> Ext4Inode::rename(std::string_view name, vfs::Inode& moved, vfs::Inode& target_parent,
                               std::string_view target_name, vfs::Inode* replaced, bool exchange) {
  Ext4Inode& source = of(moved);
  Ext4Inode& parent = of(target_parent);
  Node& node = *source.node_;
  Node* victim = replaced != nullptr ? of(*replaced).node_.get() : nullptr;
  bool crosses = parent.node_ != node_;
  Operation operation(volume());
  ARIL_TRY(operation.begin());
  auto change = [&]() -> Result<void> {
    if (exchange) {
      ARIL_TRY(exchange_locked(name, source, parent, target_name, of(*replaced)));
    } else {
      if (victim != nullptr) {
        ARIL_TRY(Directory(*parent.node_)
                     .replace(target_name, node.number(), entry_type_of(node.mode())));
      } else {
        ARIL_TRY(
            Directory(*parent.node_).add(target_name, node.number(), entry_type_of(node.mode())));
      }
      ARIL_TRY(Directory(*node_).remove(name));
      if (victim != nullptr) ARIL_TRY(drop_link_locked(*victim, victim->is_directory()));
      if (victim != nullptr && victim->is_directory())
        ARIL_TRY(change_directory_links_locked(*parent.node_, -1));
      if (node.is_directory() && crosses) {
        ARIL_TRY(Directory(node).set_parent(parent.node_->number()));
        ARIL_TRY(change_directory_links_locked(*node_, -1));
        ARIL_TRY(change_directory_links_locked(*parent.node_, 1));
      }
    }
    int64_t now = vfs::wall_clock_ns();
    node.set_time(Node::Time::kChange, now);
    if (exchange) victim->set_time(Node::Time::kChange, now);
    if (exchange) ARIL_TRY(volume().mark_dirty_locked(*victim));
    return volume().mark_dirty_locked(node);
  };
  if (victim != nullptr && !exchange && victim->is_directory() &&
      !ARIL_TRY(Directory(*victim).is_empty()))
    return fail(Errno::kNotEmpty);
  if (node.is_directory() && crosses && victim == nullptr)
    ARIL_TRY(check_link_limit(*parent.node_));
  ARIL_TRY(volume().require_space_locked());
  ARIL_TRY(change());
  for (Ext4Inode* inode : {this, &source, &parent}) inode->load_locked();
  if (replaced != nullptr) of(*replaced).load_locked();
  operation.done();
  return {};
}

Result<RefPtr<vfs::Inode>> Ext4Inode::create_unnamed(uint32_t mode, const vfs::Identity& owner) {
  RefPtr<Node> node;
  {
    Operation operation(volume());
    ARIL_TRY(operation.begin());
    ARIL_TRY(make_locked("", mode, owner, node));
    ARIL_TRY(volume().add_orphan_locked(*node));
    operation.done();
  }
  RefPtr<vfs::Inode> inode = ARIL_TRY(of(ext4(), std::move(node)));
  of(*inode).linkable_.store(true, std::memory_order_relaxed);
  return inode;
}

Result<void> Ext4Inode::read_directory(uint64_t offset, vfs::DirectoryEmitter& emitter) {
  // Directory entry types are Linux's DT_* in another order.
  static constexpr uint8_t kTypes[] = {0, 8, 4, 2, 6, 1, 12, 10};
  for (uint64_t position = offset - 2;;) {
    Directory::Batch batch;
    {
      LockGuard hold(volume().lock());
      batch = ARIL_TRY(Directory(*node_).read(position));
    }
    if (batch.entries.empty()) return {};
    // Without the lock: the emitter may write to the program's memory.
    for (const Directory::Batch::Entry& entry : batch.entries) {
      auto type = static_cast<size_t>(entry.type);
      if (!emitter.emit(batch.name_of(entry), entry.inode,
                        type < std::size(kTypes) ? kTypes[type] : uint8_t{0}, entry.position + 2))
        return {};
    }
    position = batch.entries.back().position;
  }
}

}  // namespace aril::ext4
