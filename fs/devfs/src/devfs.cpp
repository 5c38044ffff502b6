#include "fs/devfs/devfs.hpp"

#include <array>

#include "kernel/log/log.hpp"

namespace aril::devfs {

namespace mode = vfs::mode;

namespace {

struct Node {
  std::string_view name;
  uint32_t permissions;
  uint32_t major, minor;
};
constexpr Node kNodes[] = {
    {"null", 0666, kMemoryMajor, 3},    {"zero", 0666, kMemoryMajor, 5},
    {"full", 0666, kMemoryMajor, 7},    {"random", 0666, kMemoryMajor, 8},
    {"urandom", 0666, kMemoryMajor, 9}, {"kmsg", 0644, kMemoryMajor, 11},
    {"tty", 0666, kTtyMajor, 0},        {"console", 0600, kTtyMajor, 1},
    {"ptmx", 0666, kTtyMajor, 2},
};

struct LinkNode {
  std::string_view name, target;
};
constexpr LinkNode kLinks[] = {
    {"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"}, {"core", "/proc/kcore"},
};

constexpr vfs::Identity kRoot{};

}  // namespace

Devfs::~Devfs() { drop_inodes(); }

Result<RefPtr<Devfs>> Devfs::create() {
  RefPtr<Devfs> file_system = ARIL_TRY(try_make_ref<Devfs>());
  RefPtr<tmpfs::MemoryInode> root =
      ARIL_TRY(file_system->make_inode(mode::kDirectory | 0755, 0, kRoot));
  ARIL_TRY(file_system->populate(*root));
  ARIL_TRY(file_system->set_root(std::move(root)));
  return file_system;
}

Result<void> Devfs::populate(vfs::Inode& root) {
  LockGuard guard(namespace_mutex());
  for (const Node& node : kNodes) {
    ARIL_TRY(root.create(node.name, mode::kCharDevice | node.permissions,
                         mode::make_device(node.major, node.minor), kRoot));
  }
  for (const LinkNode& link : kLinks) ARIL_TRY(root.symlink(link.name, link.target, kRoot));
  for (std::string_view name : {"pts", "mqueue"})
    ARIL_TRY(root.create(name, mode::kDirectory | 0755, 0, kRoot));
  ARIL_TRY(root.create("shm", mode::kDirectory | mode::kSticky | 0777, 0, kRoot));
  return {};
}

DevPts::~DevPts() { drop_inodes(); }

Result<RefPtr<DevPts>> DevPts::create() {
  RefPtr<DevPts> file_system = ARIL_TRY(try_make_ref<DevPts>());
  RefPtr<tmpfs::MemoryInode> root =
      ARIL_TRY(file_system->make_inode(mode::kDirectory | 0755, 0, kRoot));
  ARIL_TRY(root->create("ptmx", mode::kCharDevice | 0000, mode::make_device(kTtyMajor, 2), kRoot));
  ARIL_TRY(file_system->set_root(std::move(root)));
  return file_system;
}

Result<void> DevPts::add_terminal(uint32_t number, uint32_t uid, uint32_t gid) {
  std::array<char, 12> text;
  std::string_view name = format_to(text, "%u", number);
  vfs::Identity owner{.uid = uid, .gid = gid};
  LockGuard guard(namespace_mutex());
  vfs::Inode& directory = *root()->inode();
  if (directory.lookup(name)) return fail(Errno::kExist);
  ARIL_TRY(directory.create(name, mode::kCharDevice | 0620, mode::make_device(kPtsMajor, number),
                            owner));
  dentries().forget(*root(), name);
  return {};
}

void DevPts::remove_terminal(uint32_t number) {
  std::array<char, 12> text;
  std::string_view name = format_to(text, "%u", number);
  RefPtr<vfs::Inode> dropped;
  LockGuard guard(namespace_mutex());
  vfs::Inode& directory = *root()->inode();
  Result<RefPtr<vfs::Inode>> inode = directory.lookup(name);
  if (!inode) return;
  dropped = std::move(*inode);
  // A directory in memory cannot fail to remove what it has just found.
  if (directory.unlink(name, *dropped)) dentries().forget(*root(), name);
}

}  // namespace aril::devfs
