#include "out_of_memory.hpp"

#include "kernel/log/log.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "linux/signal/signal.hpp"
#include "operations.hpp"

namespace aril::linux_abi {
namespace {

constexpr int kNever = -1000;  // OOM_SCORE_ADJ_MIN
constexpr int kScale = 1000;

struct Candidate {
  RefPtr<Process> process;
  int64_t score = -1;
  uint64_t pages = 0;
};

struct Survey {
  /// The end of the first process ends the machine, so it is not one among many.
  Candidate first, largest;
  int64_t all_but_first = 0;
  /// One that was ended already and still has its memory.
  RefPtr<Process> dying;

  /// The first process only when it holds more than all others together: a program that fills the
  /// memory, not one whose children do.
  [[nodiscard]] Candidate& victim() {
    return !largest.process || first.score > all_but_first ? first : largest;
  }
};

// The faulting thread may hold locks that rank above a process's: no waiting for those.
RefPtr<AddressSpace> try_find_space(Process& process, int& adjustment) {
  if (!process.mutex().try_lock()) return nullptr;
  RefPtr<AddressSpace> space;
  if (!process.has_left_memory() || process.task_count() != 0) space = process.address_space_ref();
  adjustment = process.oom_score_adjustment;
  process.mutex().unlock();
  return space;
}

bool is_being_ended(Process& process) {
  if (process.is_exiting()) return true;
  LockGuard guard(process.signal_lock());
  return process.pending_locked().set().contains(kSigKill);
}

void consider(Process& process, void* argument) {
  auto& survey = *static_cast<Survey*>(argument);
  int adjustment = 0;
  RefPtr<AddressSpace> space = try_find_space(process, adjustment);
  if (!space) return;
  if (is_being_ended(process)) {
    survey.dying = RefPtr<Process>(&process);
    return;
  }
  if (adjustment == kNever) return;
  uint64_t pages = space->usage().resident_pages;
  auto total = static_cast<int64_t>(page_allocator::statistics().total_pages);
  int64_t score = std::max<int64_t>(static_cast<int64_t>(pages) + adjustment * total / kScale, 0);
  bool is_first = process.pid() == 1;
  if (!is_first) survey.all_but_first += score;
  Candidate& best = is_first ? survey.first : survey.largest;
  if (score > best.score) best = {RefPtr<Process>(&process), score, pages};
}

// Bounded: the victim may need a lock that the caller holds.
bool wait_for_end(Process& victim) {
  constexpr Duration kPatience = Duration::milliseconds(1000);
  return victim.end_queue()
      .wait_until([&] { return victim.task_count() == 0; }, now() + kPatience, Interruptible::kNo)
      .has_value();
}

bool end_largest() {
  Survey survey;
  process_table::for_each(&consider, &survey);
  Process& self = current_process();
  if (survey.dying && survey.dying != &self && wait_for_end(*survey.dying)) return true;
  const Candidate& best = survey.victim();
  if (!best.process) return false;
  Process& victim = *best.process;
  constexpr uint64_t kPagesPerMiB = kMiB / kPageSize;
  write_record("report out of memory: ended process %d, which held %lu MiB; pass a larger --memory",
               victim.pid(), static_cast<unsigned long>(best.pages / kPagesPerMiB));
  send_kernel_signal(victim, kSigKill);
  return &victim != &self && wait_for_end(victim);
}

bool relieve() {
  // A kernel thread's access, or one of a task that is being ended, fails.
  Task* task = current_task_or_null();
  if (task == nullptr || task_must_exit(*task) || pending_signals(*task).contains(kSigKill))
    return false;
  return end_largest();
}

}  // namespace

void watch_memory() { set_out_of_memory_handler(&relieve); }

}  // namespace aril::linux_abi
