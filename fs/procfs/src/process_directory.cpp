#include "process_directory.hpp"

#include <algorithm>
#include <charconv>

#include "fs/vfs/lookup.hpp"
#include "fs/vfs/open_file.hpp"
#include "system_files.hpp"

namespace aril::procfs {
namespace {

using synthetic::append_format;
using synthetic::Directory;
using synthetic::MagicLink;
using synthetic::SyntheticFileSystem;
using synthetic::SyntheticInode;
using synthetic::TextFile;
namespace mode = vfs::mode;

using TaskStore = Result<void> (*)(const ProcessContext& context, int pid, int tid,
                                   std::string_view text);

Result<void> make_command_line(const ProcessContext& context, int pid, int, std::string& out) {
  out = ARIL_TRY(context.processes.command_line(pid));
  return {};
}
Result<void> make_environment(const ProcessContext& context, int pid, int, std::string& out) {
  out = ARIL_TRY(context.processes.environment(pid));
  return {};
}
Result<void> make_auxiliary_vector(const ProcessContext& context, int pid, int, std::string& out) {
  out = ARIL_TRY(context.processes.auxiliary_vector(pid));
  return {};
}
Result<void> make_comm(const ProcessContext& context, int pid, int tid, std::string& out) {
  out = ARIL_TRY(context.processes.view(pid, tid)).comm + "\n";
  return {};
}
Result<void> store_comm(const ProcessContext& context, int pid, int tid, std::string_view text) {
  return context.processes.set_comm(pid, tid, text.substr(0, text.find('\n')));
}
Result<void> make_oom_adjustment(const ProcessContext& context, int pid, int tid,
                                 std::string& out) {
  append_format(out, "%d\n", ARIL_TRY(context.processes.view(pid, tid)).oom_score_adjustment);
  return {};
}
Result<void> store_oom_adjustment(const ProcessContext& context, int pid, int,
                                  std::string_view text) {
  int value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < -1000 || value > 1000) return fail(Errno::kInval);
  return context.processes.set_oom_score_adjustment(pid, value);
}
Result<void> make_zero(const ProcessContext&, int, int, std::string& out) {
  out = "0\n";
  return {};
}
Result<void> accept(const ProcessContext&, int, int, std::string_view) { return {}; }
Result<void> make_control_group(const ProcessContext&, int, int, std::string& out) {
  out = "0::/\n";
  return {};
}
Result<void> make_login_uid(const ProcessContext&, int, int, std::string& out) {
  out = "4294967295";
  return {};
}
Result<void> make_id_map(const ProcessContext&, int, int, std::string& out) {
  out = "         0          0 4294967295\n";
  return {};
}
Result<void> make_set_groups(const ProcessContext&, int, int, std::string& out) {
  out = "allow\n";
  return {};
}
Result<void> make_io(const ProcessContext&, int, int, std::string& out) {
  out =
      "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\n"
      "cancelled_write_bytes: 0\n";
  return {};
}
Result<void> make_personality(const ProcessContext&, int, int, std::string& out) {
  out = "00000000\n";
  return {};
}

struct FileEntry {
  std::string_view name;
  uint32_t permissions;
  TaskGenerator generate;
  TaskStore store = nullptr;
};
constexpr FileEntry kFiles[] = {
    {"auxv", 0400, make_auxiliary_vector},
    {"cgroup", 0444, make_control_group},
    {"cmdline", 0444, make_command_line},
    {"comm", 0644, make_comm, store_comm},
    {"coredump_filter", 0644, make_personality, accept},
    {"environ", 0400, make_environment},
    {"gid_map", 0444, make_id_map},
    {"io", 0400, make_io},
    {"limits", 0444, make_limits},
    {"loginuid", 0444, make_login_uid},
    {"maps", 0444, make_maps},
    {"mountinfo", 0444, make_mountinfo},
    {"mounts", 0444, make_mounts},
    {"oom_adj", 0644, make_zero, accept},
    {"oom_score", 0444, make_zero},
    {"oom_score_adj", 0644, make_oom_adjustment, store_oom_adjustment},
    {"personality", 0400, make_personality},
    {"sessionid", 0444, make_login_uid},
    {"setgroups", 0444, make_set_groups},
    {"smaps", 0444, make_smaps},
    {"smaps_rollup", 0444, make_smaps_rollup},
    {"stat", 0444, make_stat},
    {"statm", 0444, make_statm},
    {"status", 0444, make_status},
    {"uid_map", 0444, make_id_map},
    {"wchan", 0444, make_zero},
};

struct LinkEntry {
  std::string_view name;
  Result<vfs::Path> (ProcessSource::*place)(int pid);
};
constexpr LinkEntry kLinks[] = {
    {"cwd", &ProcessSource::working_directory},
    {"exe", &ProcessSource::executable},
    {"root", &ProcessSource::root_directory},
};

constexpr unsigned kFirstLink = 100, kFirstDirectory = 200, kFirstDescriptor = 512;

/// A directory about one task. Its names hold as long as the task lives.
class TaskDirectoryBase : public SyntheticInode {
 public:
  TaskDirectoryBase(SyntheticFileSystem& file_system, const ProcessContext& context, int pid,
                    int tid, unsigned number)
      : SyntheticInode(file_system, process_number(pid, tid, number), mode::kDirectory | 0555),
        context_(context),
        pid_(pid),
        tid_(tid) {
    link_count_.store(2, std::memory_order_relaxed);
    vfs::Identity owner = context.processes.owner(pid);
    set_owner(owner.uid, owner.gid);
  }
  [[nodiscard]] bool has_stable_names() const override { return false; }

 protected:
  [[nodiscard]] SyntheticFileSystem& synthetic_file_system() const {
    return static_cast<SyntheticFileSystem&>(file_system());
  }
  template <typename T, typename... Args>
  Result<RefPtr<vfs::Inode>> make(unsigned number, Args&&... args) {
    RefPtr<T> inode = ARIL_TRY(try_make_ref<T>(
        synthetic_file_system(), process_number(pid_, tid_, number), std::forward<Args>(args)...));
    inode->set_owner(uid(), gid());
    return inode;
  }

  const ProcessContext context_;
  const int pid_, tid_;
};

/// fd and fdinfo.
class DescriptorDirectory final : public TaskDirectoryBase {
 public:
  enum class Kind : uint8_t { kLinks, kInformation };
  DescriptorDirectory(SyntheticFileSystem& file_system, const ProcessContext& context, int pid,
                      int tid, Kind kind)
      : TaskDirectoryBase(file_system, context, pid, tid,
                          kFirstDirectory + (kind == Kind::kLinks ? 0 : 1)),
        kind_(kind) {}

  Result<RefPtr<vfs::Inode>> lookup(std::string_view name) override {
    std::optional<int> fd = parse_id(name);
    if (!fd || !context_.processes.descriptor(pid_, *fd)) return fail(Errno::kNoEnt);
    unsigned number = kFirstDescriptor + static_cast<unsigned>(*fd) * 2;
    if (kind_ == Kind::kInformation) {
      return make<TextFile>(number + 1, 0400u,
                            [context = context_, pid = pid_, fd = *fd](std::string& out) {
                              return make_information(context, pid, fd, out);
                            });
    }
    return make<MagicLink>(
        number,
        [context = context_, pid = pid_, fd = *fd]() -> Result<std::string> {
          return ARIL_TRY(context.processes.descriptor(pid, fd))->description();
        },
        [context = context_, pid = pid_, fd = *fd]() -> Result<vfs::Path> {
          RefPtr<File> file = ARIL_TRY(context.processes.descriptor(pid, fd));
          if (const vfs::Path* path = vfs::path_of(*file)) return *path;
          return synthetic::place_for_file(context.files, std::move(file));
        });
  }

  Result<void> read_directory(uint64_t offset, vfs::DirectoryEmitter& emitter) override {
    uint8_t type = mode::directory_type(kind_ == Kind::kLinks ? mode::kSymlink : mode::kRegular);
    for (int fd : ARIL_TRY(context_.processes.descriptors(pid_))) {
      uint64_t position = static_cast<uint64_t>(fd) + 2;
      if (position < offset) continue;
      unsigned number =
          kFirstDescriptor + static_cast<unsigned>(fd) * 2 + (kind_ == Kind::kInformation ? 1 : 0);
      std::string name = std::to_string(fd);
      if (!emitter.emit(name, process_number(pid_, tid_, number), type, position + 1)) return {};
    }
    return {};
  }

 private:
  static Result<void> make_information(const ProcessContext& context, int pid, int fd,
                                       std::string& out) {
    RefPtr<File> file = ARIL_TRY(context.processes.descriptor(pid, fd));
    uint64_t position = file->seek(0, SeekOrigin::kCurrent).value_or(0);
    auto flags = std::to_underlying(file->flags());
    if (context.processes.closes_on_exec(pid, fd))
      flags |= std::to_underlying(OpenFlags::kCloseOnExec);
    const vfs::Path* path = vfs::path_of(*file);
    append_format(out, "pos:\t%llu\nflags:\t0%o\nmnt_id:\t%u\n",
                  static_cast<unsigned long long>(position), flags,
                  path != nullptr ? path->mount().id() : 15u);
    return {};
  }

  const Kind kind_;
};

/// /proc/PID and /proc/PID/task/TID.
class TaskDirectory final : public TaskDirectoryBase {
 public:
  enum class Kind : uint8_t { kProcess, kTask };
  TaskDirectory(SyntheticFileSystem& file_system, const ProcessContext& context, int pid, int tid,
                Kind kind)
      : TaskDirectoryBase(file_system, context, pid, tid, kind == Kind::kProcess ? 0 : 1),
        kind_(kind) {}

  Result<RefPtr<vfs::Inode>> lookup(std::string_view name) override;
  Result<void> read_directory(uint64_t offset, vfs::DirectoryEmitter& emitter) override;

 private:
  const Kind kind_;
};

/// /proc/PID/task.
class TaskListDirectory final : public TaskDirectoryBase {
 public:
  TaskListDirectory(SyntheticFileSystem& file_system, const ProcessContext& context, int pid)
      : TaskDirectoryBase(file_system, context, pid, pid, kFirstDirectory + 2) {}

  Result<RefPtr<vfs::Inode>> lookup(std::string_view name) override {
    std::optional<int> tid = parse_id(name);
    if (!tid) return fail(Errno::kNoEnt);
    std::vector<int> tids = context_.processes.tids(pid_);
    if (std::ranges::find(tids, *tid) == tids.end()) return fail(Errno::kNoEnt);
    return ARIL_TRY(try_make_ref<TaskDirectory>(synthetic_file_system(), context_, pid_, *tid,
                                                TaskDirectory::Kind::kTask));
  }
  Result<void> read_directory(uint64_t offset, vfs::DirectoryEmitter& emitter) override {
    for (int tid : context_.processes.tids(pid_)) {
      uint64_t position = static_cast<uint64_t>(tid) + 2;
      if (position < offset) continue;
      std::string name = std::to_string(tid);
      if (!emitter.emit(name, process_number(pid_, tid, 1), mode::directory_type(mode::kDirectory),
                        position + 1))
        return {};
    }
    return {};
  }
};

constexpr std::string_view kDirectories[] = {"fd", "fdinfo", "net", "task"};

Result<RefPtr<vfs::Inode>> TaskDirectory::lookup(std::string_view name) {
  if (!context_.processes.exists(pid_)) return fail(Errno::kNoEnt);
  SyntheticFileSystem& system = synthetic_file_system();
  for (unsigned i = 0; i < std::size(kFiles); ++i) {
    const FileEntry& entry = kFiles[i];
    if (entry.name != name) continue;
    auto generate = [context = context_, pid = pid_, tid = tid_, &entry](std::string& out) {
      return entry.generate(context, pid, tid, out);
    };
    synthetic::Store store;
    if (entry.store != nullptr) {
      store = [context = context_, pid = pid_, tid = tid_, &entry](std::string_view text) {
        return entry.store(context, pid, tid, text);
      };
    }
    return make<TextFile>(i + 2, entry.permissions, std::move(generate), std::move(store));
  }
  for (unsigned i = 0; i < std::size(kLinks); ++i) {
    const LinkEntry& entry = kLinks[i];
    if (entry.name != name) continue;
    return make<MagicLink>(
        kFirstLink + i,
        [context = context_, pid = pid_, &entry]() -> Result<std::string> {
          vfs::Path path = ARIL_TRY((context.processes.*entry.place)(pid));
          return vfs::absolute_path(context.mounts, path, context.mounts.root());
        },
        [context = context_, pid = pid_, &entry]() {
          return (context.processes.*entry.place)(pid);
        });
  }
  using Descriptors = DescriptorDirectory::Kind;
  if (name == "fd")
    return ARIL_TRY(
        try_make_ref<DescriptorDirectory>(system, context_, pid_, tid_, Descriptors::kLinks));
  if (name == "fdinfo")
    return ARIL_TRY(
        try_make_ref<DescriptorDirectory>(system, context_, pid_, tid_, Descriptors::kInformation));
  if (name == "net") return RefPtr<vfs::Inode>(context_.net);
  if (name == "task" && kind_ == Kind::kProcess)
    return ARIL_TRY(try_make_ref<TaskListDirectory>(system, context_, pid_));
  return fail(Errno::kNoEnt);
}

Result<void> TaskDirectory::read_directory(uint64_t offset, vfs::DirectoryEmitter& emitter) {
  uint64_t position = 2;
  auto emit = [&](std::string_view name, unsigned number, uint32_t type) {
    if (position++ < offset) return true;
    return emitter.emit(name, process_number(pid_, tid_, number), mode::directory_type(type),
                        position);
  };
  for (unsigned i = 0; i < std::size(kFiles); ++i)
    if (!emit(kFiles[i].name, i + 2, mode::kRegular)) return {};
  for (unsigned i = 0; i < std::size(kLinks); ++i)
    if (!emit(kLinks[i].name, kFirstLink + i, mode::kSymlink)) return {};
  for (unsigned i = 0; i < std::size(kDirectories); ++i) {
    if (kDirectories[i] == "task" && kind_ == Kind::kTask) continue;
    if (!emit(kDirectories[i], kFirstDirectory + i, mode::kDirectory)) return {};
  }
  return {};
}

}  // namespace

Result<RefPtr<vfs::Inode>> make_process_directory(SyntheticFileSystem& file_system,
                                                  const ProcessContext& context, int pid) {
  return ARIL_TRY(
      try_make_ref<TaskDirectory>(file_system, context, pid, pid, TaskDirectory::Kind::kProcess));
}

}  // namespace aril::procfs
