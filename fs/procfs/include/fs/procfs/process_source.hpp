#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "fs/vfs/identity.hpp"
#include "fs/vfs/path.hpp"
#include "kernel/io/file.hpp"
#include "kernel/sched/thread.hpp"
#include "kernel/vm/address_space.hpp"

namespace aril::procfs {

/// One task as its stat, status, statm, comm and limits files show it [proc(5)]. Filled by linux/;
/// formatted here. Of a process the values are those of the whole process unless said otherwise.
struct ProcessView {
  int pid = 0;  ///< of the task that is asked about
  int thread_group = 0;
  int parent = 0;
  int process_group = 0, session = 0;
  std::string comm;  ///< at most 15 characters
  char state = 'R';  ///< R S D T Z as ps shows them
  unsigned thread_count = 1;
  uint32_t uid = 0, euid = 0, suid = 0, fsuid = 0;
  uint32_t gid = 0, egid = 0, sgid = 0, fsgid = 0;
  std::vector<uint32_t> groups;
  uint64_t capabilities_inheritable = 0, capabilities_permitted = 0, capabilities_effective = 0,
           capabilities_bounding = 0, capabilities_ambient = 0;
  bool no_new_privileges = false;
  uint32_t umask = 022;
  Duration user_time, system_time;
  Instant start_time;
  int nice = 0;
  unsigned last_cpu = 0;
  CpuMask affinity = ~CpuMask{0};
  uint64_t voluntary_switches = 0, involuntary_switches = 0;
  uint64_t minor_faults = 0, major_faults = 0;
  /// Signal sets, bit 0 = signal 1.
  uint64_t signals_pending = 0, signals_pending_shared = 0, signals_blocked = 0,
           signals_ignored = 0, signals_caught = 0;
  unsigned signals_queued = 0;
  AddressSpace::Usage memory{};
  uint64_t code_start = 0, code_end = 0, stack_start = 0, data_start = 0, data_end = 0,
           break_start = 0, arguments_start = 0, arguments_end = 0, environment_start = 0,
           environment_end = 0;
  unsigned descriptor_slots = 64;  ///< FDSize
  int exit_signal = 17;
  int oom_score_adjustment = 0;
  uint32_t tty_device = 0;
};

/// RLIMIT_* in their order; ~0 is unlimited.
struct LimitView {
  uint64_t soft = ~uint64_t{0}, hard = ~uint64_t{0};
};
using LimitViews = std::array<LimitView, 16>;

/// What /proc asks about processes. Implemented by linux/. Called on application threads, with at
/// most a lock of LockRank::kGenerated held, so implementations may take any. kSrch when the
/// process is gone.
class ProcessSource {
 public:
  virtual ~ProcessSource() = default;

  /// The calling task's, for /proc/self and /proc/thread-self; 0 on a kernel thread.
  virtual int current_pid() = 0;
  virtual int current_tid() = 0;
  virtual std::vector<int> pids() = 0;
  virtual bool exists(int pid) = 0;
  virtual std::vector<int> tids(int pid) = 0;

  /// Who owns the files about it: the effective ids.
  virtual vfs::Identity owner(int pid) = 0;
  /// `tid` is `pid` for the process.
  virtual Result<ProcessView> view(int pid, int tid) = 0;
  virtual Result<LimitViews> limits(int pid) = 0;
  /// Bytes of argv and envp, each string with its NUL, and of the auxiliary vector.
  virtual Result<std::string> command_line(int pid) = 0;
  virtual Result<std::string> environment(int pid) = 0;
  virtual Result<std::string> auxiliary_vector(int pid) = 0;
  /// The memory; null for a zombie.
  virtual Result<RefPtr<AddressSpace>> address_space(int pid) = 0;

  virtual Result<vfs::Path> executable(int pid) = 0;
  virtual Result<vfs::Path> working_directory(int pid) = 0;
  virtual Result<vfs::Path> root_directory(int pid) = 0;

  /// Open descriptors in order, and what one refers to; kBadF.
  virtual Result<std::vector<int>> descriptors(int pid) = 0;
  virtual Result<RefPtr<File>> descriptor(int pid, int fd) = 0;
  virtual bool closes_on_exec(int pid, int fd) = 0;

  virtual Result<void> set_comm(int pid, int tid, std::string_view comm) = 0;
  virtual Result<void> set_oom_score_adjustment(int pid, int value) = 0;
};

}  // namespace aril::procfs
