#pragma once
#include "linux/process/process.hpp"
#include "linux/process/task.hpp"

namespace aril::linux_abi {

/// The table's way to the links inside its members. An object adds itself once it has its number
/// and removes itself in its destructor.
struct TableAccess {
  static void add(Task& task);
  static void add(Process& process);
  static void remove(Task& task);
  static void remove(Process& process);
  static RefPtr<Task> find_task(int tid);
  static RefPtr<Process> find_process(int pid);
  /// The living process with the lowest pid above `after`.
  static RefPtr<Process> next_process(int after);
};

/// What check_task_limit counts.
struct TaskCounts {
  static inline constinit std::atomic<size_t> living{0};
  /// Processes without tasks that have not been collected.
  static inline constinit std::atomic<size_t> zombies{0};
};

}  // namespace aril::linux_abi
