#include "fs/procfs/procfs.hpp"

#include <charconv>

#include "process_directory.hpp"
#include "system_files.hpp"

namespace aril::procfs {
namespace {

using synthetic::Directory;
using synthetic::Link;
using synthetic::SyntheticFileSystem;

constexpr uint64_t kMagic = 0x9fa0;  // PROC_SUPER_MAGIC

/// The root of /proc: the fixed files, "self", and a directory for each process.
class RootDirectory final : public Directory {
 public:
  RootDirectory(SyntheticFileSystem& file_system, uint64_t number, ProcessContext context)
      : Directory(file_system, number), context_(std::move(context)) {}

  [[nodiscard]] bool has_stable_names() const override { return false; }

 protected:
  Result<RefPtr<vfs::Inode>> lookup_more(std::string_view name) override {
    if (name == "self" || name == "thread-self") {
      bool thread = name != "self";
      return ARIL_TRY(
          try_make_ref<Link>(synthetic_file_system(), thread ? kThreadSelfNumber : kSelfNumber,
                             [&processes = context_.processes, thread]() -> Result<std::string> {
                               return self_target(processes, thread);
                             }));
    }
    std::optional<int> pid = parse_id(name);
    if (!pid || !context_.processes.exists(*pid)) return fail(Errno::kNoEnt);
    return make_process_directory(synthetic_file_system(), context_, *pid);
  }

  Result<void> read_more(uint64_t offset, uint64_t base, vfs::DirectoryEmitter& emitter) override {
    static constexpr uint8_t kLink = vfs::mode::directory_type(vfs::mode::kSymlink);
    static constexpr uint8_t kDirectory = vfs::mode::directory_type(vfs::mode::kDirectory);
    if (offset == base && !emitter.emit("self", kSelfNumber, kLink, base + 1)) return {};
    if (offset <= base + 1 && !emitter.emit("thread-self", kThreadSelfNumber, kLink, base + 2))
      return {};
    // Offsets go by pid, so that processes that come and go do not shift the others.
    for (int pid : context_.processes.pids()) {
      uint64_t position = base + 2 + static_cast<uint64_t>(pid);
      if (position < offset) continue;
      std::string name = std::to_string(pid);
      if (!emitter.emit(name, process_number(pid, pid, 0), kDirectory, position + 1)) return {};
    }
    return {};
  }

 private:
  static constexpr uint64_t kSelfNumber = uint64_t{1} << 62;
  static constexpr uint64_t kThreadSelfNumber = kSelfNumber + 1;

  static Result<std::string> self_target(ProcessSource& processes, bool thread) {
    int pid = processes.current_pid();
    if (pid == 0) return fail(Errno::kNoEnt);
    std::string target = std::to_string(pid);
    if (thread) target += "/task/" + std::to_string(processes.current_tid());
    return target;
  }

  ProcessContext context_;
};

}  // namespace

std::optional<int> parse_id(std::string_view name) {
  int value = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), value);
  bool canonical = !name.empty() && name[0] >= '1' && name[0] <= '9';
  if (!canonical && name != "0") return std::nullopt;
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return value;
}

Result<std::unique_ptr<Procfs>> Procfs::create(SystemSource system, ProcessSource& processes,
                                               vfs::MountTree& mounts) {
  RefPtr<SyntheticFileSystem> file_system = ARIL_TRY(SyntheticFileSystem::create("proc", kMagic));
  // Open files that have no place of their own get one in a file system that is never mounted.
  RefPtr<SyntheticFileSystem> files = ARIL_TRY(SyntheticFileSystem::create("anon_inodefs", kMagic));
  ARIL_TRY(files->adopt_root(ARIL_TRY(try_make_ref<Directory>(*files, files->next_number()))));
  RefPtr<vfs::Mount> files_mount = ARIL_TRY(vfs::Mount::create_detached(std::move(files)));
  RefPtr<Directory> net =
      ARIL_TRY(try_make_ref<Directory>(*file_system, file_system->next_number()));
  ProcessContext context{processes, mounts, std::move(files_mount), net};
  RefPtr<RootDirectory> root = ARIL_TRY(
      try_make_ref<RootDirectory>(*file_system, file_system->next_number(), std::move(context)));
  auto shared = ARIL_TRY(try_make_ref<SharedSystemSource>(std::move(system)));
  add_system_files(*root, shared, processes);
  add_kernel_parameters(*root, shared);
  root->add_link("mounts", "self/mounts");
  root->add_link("net", "self/net");
  ARIL_TRY(file_system->adopt_root(std::move(root)));
  auto* procfs = new (std::nothrow) Procfs(std::move(file_system), std::move(net));
  if (procfs == nullptr) return fail(Errno::kNoMem);
  return std::unique_ptr<Procfs>(procfs);
}

void Procfs::add_file(std::string_view name, synthetic::Generate generate, synthetic::Store store) {
  static constexpr std::string_view kNet = "net/";
  if (name.starts_with(kNet)) {
    net_->add_file(name.substr(kNet.size()), std::move(generate), std::move(store));
  } else {
    file_system_->root_directory().add_file(name, std::move(generate), std::move(store));
  }
}

}  // namespace aril::procfs
