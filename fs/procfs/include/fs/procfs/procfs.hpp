#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "fs/procfs/process_source.hpp"
#include "fs/synthetic/synthetic.hpp"
#include "fs/vfs/mount.hpp"

namespace aril::procfs {

/// What the system-wide files tell beyond what the kernel layer knows. The composition root fills
/// it in; empty functions give empty or standard answers.
struct SystemSource {
  std::string release = "6.1.0-aril";  ///< uname's
  std::string version = "#1 SMP Aril";
  std::string command_line;  ///< /proc/cmdline
  std::function<std::string()> host_name;
  std::function<Result<void>(std::string_view)> set_host_name;
  std::function<std::string()> domain_name;
  /// "   1       0     512 vda" lines after the head of /proc/partitions.
  std::function<std::string()> partitions;
  uint32_t pid_limit = 4194304;
};

/// /proc. Build it at start-up, add what other layers have, then mount it.
class Procfs {
 public:
  /// `processes` and `mounts` live for ever. kNoMem.
  static Result<std::unique_ptr<Procfs>> create(SystemSource system, ProcessSource& processes,
                                                vfs::MountTree& mounts);

  [[nodiscard]] const RefPtr<synthetic::SyntheticFileSystem>& file_system() const {
    return file_system_;
  }
  /// Adds a system-wide file, "net/tcp" say ("net" stands for /proc/self/net, as on Linux). Before
  /// the first program.
  void add_file(std::string_view name, synthetic::Generate generate,
                synthetic::Store store = nullptr);

 private:
  Procfs(RefPtr<synthetic::SyntheticFileSystem> file_system, RefPtr<synthetic::Directory> net)
      : file_system_(std::move(file_system)), net_(std::move(net)) {}
  RefPtr<synthetic::SyntheticFileSystem> file_system_;
  RefPtr<synthetic::Directory> net_;  // what every process's "net" is
};

}  // namespace aril::procfs
