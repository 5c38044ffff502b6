#pragma once
#include <optional>
#include <string>

#include "fs/procfs/process_source.hpp"
#include "fs/synthetic/synthetic.hpp"
#include "fs/vfs/mount.hpp"

namespace aril::procfs {

/// What the files of a process are made from. Copied into each generator.
struct ProcessContext {
  ProcessSource& processes;
  vfs::MountTree& mounts;
  RefPtr<vfs::Mount> files;  ///< where open files without a place get one
  RefPtr<synthetic::Directory> net;
};

/// The directory /proc/PID of a process that exists.
Result<RefPtr<vfs::Inode>> make_process_directory(synthetic::SyntheticFileSystem& file_system,
                                                  const ProcessContext& context, int pid);

/// Inode numbers: unique to the task and the file within its directory.
inline uint64_t process_number(int pid, int tid, unsigned file) {
  return uint64_t{1} << 61 | static_cast<uint64_t>(pid) << 36 | static_cast<uint64_t>(tid) << 12 |
         file;
}

// Contents, in the format of [proc(5)].
using TaskGenerator = Result<void> (*)(const ProcessContext& context, int pid, int tid,
                                       std::string& out);
Result<void> make_stat(const ProcessContext& context, int pid, int tid, std::string& out);
Result<void> make_status(const ProcessContext& context, int pid, int tid, std::string& out);
Result<void> make_statm(const ProcessContext& context, int pid, int tid, std::string& out);
Result<void> make_limits(const ProcessContext& context, int pid, int tid, std::string& out);
Result<void> make_maps(const ProcessContext& context, int pid, int tid, std::string& out);
Result<void> make_smaps(const ProcessContext& context, int pid, int tid, std::string& out);
Result<void> make_smaps_rollup(const ProcessContext& context, int pid, int tid, std::string& out);
Result<void> make_mounts(const ProcessContext& context, int pid, int tid, std::string& out);
Result<void> make_mountinfo(const ProcessContext& context, int pid, int tid, std::string& out);

}  // namespace aril::procfs
