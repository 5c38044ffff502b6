#pragma once
#include <memory>
#include <vector>

#include "kernel/sched/mutex.hpp"
#include "linux/process/process.hpp"
#include "request.hpp"
#include "ring_memory.hpp"

/// io_uring [io_uring(7)]. A ring's operations run on the thread that submits them as long as they
/// need not wait: an attempt is made under NoWaitScope, in which a sleep that a signal could end
/// ends at once. What would have slept either waits on its file's queues, without a thread, or,
/// when its file cannot be polled, on a worker: a task of the process, as Linux's io workers are.
namespace aril::linux_abi::io_uring {

/// A lock that may be held while any other is taken: operations run under it.
class SubmissionGate {
 public:
  void lock() {
    while (taken_.exchange(true, std::memory_order_acquire))
      (void)queue_.wait_until([&] { return !taken_.load(std::memory_order_relaxed); },
                              Instant::never(), Interruptible::kNo);
  }
  void unlock() {
    taken_.store(false, std::memory_order_release);
    queue_.wake(1);
  }

 private:
  std::atomic<bool> taken_{false};
  WaitQueue queue_;
};

/// What an attempt at an operation came to.
struct Outcome {
  enum class Kind : uint8_t {
    kDone,      ///< `result` is for the completion
    kMustWait,  ///< it would have slept
    kPending,   ///< it completes by other means (a timeout)
  } kind = Kind::kDone;
  int32_t result = 0;
  static Outcome done(int64_t value) { return {Kind::kDone, static_cast<int32_t>(value)}; }
  static Outcome failed(Errno error) { return done(-static_cast<int64_t>(error)); }
};

/// Life cycle: made by io_uring_setup; the file (RingFile) closes it with its last reference, which
/// cancels what is left. Workers and mappings hold references of their own.
class Ring final : public RefCounted {
 public:
  static Result<RefPtr<Ring>> create(Parameters& parameters);
  ~Ring();

  [[nodiscard]] const RefPtr<RingMemory>& memory() const { return memory_; }
  [[nodiscard]] uint32_t setup_flags() const { return flags_; }
  [[nodiscard]] bool is_disabled() const { return disabled_.load(std::memory_order_relaxed); }
  Result<void> enable();
  /// Cancels everything and lets workers go.
  void close();

  // Submission: submit.cpp.
  /// Takes up to `count` entries; how many. An error only when nothing was taken.
  Result<uint32_t> submit(uint32_t count);
  [[nodiscard]] uint32_t pending_submissions() const;
  /// For SQPOLL: wakes the thread that polls; waits for room in the submission ring.
  void wake_submission_thread() { submission_queue_.wake_all(); }
  Result<void> wait_for_submission_room();
  Result<void> start_submission_thread();

  // Completion: ring.cpp.
  /// Posts one completion. Thread context.
  void post(uint64_t user_data, int32_t result, uint32_t flags);
  [[nodiscard]] uint32_t ready_completions() const;
  /// Moves what did not fit before to the ring.
  void flush_overflow();
  Result<void> wait_completions(uint32_t count, Instant deadline);
  PollEvents poll(PollRegistrar* registrar);

  // Registered resources: register.cpp. `gate()` held.
  SubmissionGate& gate() { return gate_; }
  Result<int64_t> register_resources(uint32_t operation, uint64_t argument, uint32_t count);
  Result<RefPtr<File>> registered_file(uint32_t index) const;
  /// kFault unless [address, +length) lies in buffer `index`.
  Result<void> check_buffer(uint32_t index, uint64_t address, uint64_t length) const;
  /// Puts a file into the table of registered ones; with kFileIndexAlloc anywhere. The index.
  Result<int32_t> install_file(RefPtr<File> file, uint32_t slot);
  Result<void> remove_file(uint32_t slot);
  Result<int64_t> update_files(uint64_t argument, uint32_t offset, uint32_t count);

  // Requests: submit.cpp, workers.cpp, cancel.cpp.
  /// Runs what waits for a worker. On a worker.
  bool run_one();
  /// From a wait queue or timer, any context: the request goes to a worker.
  void wake_request(Request& request);

  struct CancelMatch {
    uint64_t user_data = 0;
    const File* file = nullptr;
    const Request* request = nullptr;  ///< this one, if it is still there
    uint32_t flags = 0;
    bool only_polls = false, only_timeouts = false;
    [[nodiscard]] bool matches(const Request& candidate) const;
  };
  /// How many were canceled; kNoEnt, kAlready when it ran and was only told.
  Result<int32_t> cancel(const CancelMatch& match, const Request* except);
  Result<void> update_timeout(uint64_t user_data, Instant deadline);
  Result<void> update_poll(uint64_t user_data, const Submission& entry);

 private:
  friend struct Execution;
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  Ring() = default;

  struct Chain {
    Request* first = nullptr;
    Request* last = nullptr;
  };
  struct Overflow {
    Completion completion;
    ListNode node;
  };
  struct Buffer {
    uint64_t address = 0, length = 0;
  };

  // submit.cpp
  Result<void> submit_entry(const Submission& entry, Chain& chain);
  Result<void> prepare(Request& request, const Chain& chain);
  void end_chain(Chain& chain);
  void run_deferred();
  Request* take_deferred_locked();
  /// These return the request to go on with, if any: chains are walked, not recursed into.
  Request* issue(Request& request);
  Request* settle(Request& request, Outcome outcome);
  Request* complete(Request& request, int32_t result);
  Request* detach_link_timeout(Request& request);
  void advance(Request* request);
  void cancel_chain(Request* first);
  void forget(Request& request);
  bool repeat(Request& request, Outcome outcome);

  // wait.cpp
  enum class FirstLook : uint8_t { kYes, kNo };
  /// False when there is nothing to wait for after all.
  bool arm_poll(Request& request, FirstLook look);
  Outcome start_timeout(Request& request);
  void start_link_timeout(Request& guarded);
  void queue_for_worker_locked(Request& request);
  void wake_counting_locked(uint32_t completions);
  Request* run_timeout(Request& request);

  // workers.cpp
  Result<void> ensure_worker(bool another);
  Result<void> start_task(Task::Preparation entry, std::string_view kind);
  static void worker_main(arch::TrapFrame& frame, void* ring);
  static void submission_main(arch::TrapFrame& frame, void* ring);
  [[noreturn]] void leave_worker();
  bool rest(Task& task, arch::TrapFrame& frame);
  Request* run(Request& request);

  // register.cpp
  Result<int64_t> register_files(uint64_t argument, uint32_t count);
  Result<int64_t> register_buffers(uint64_t argument, uint32_t count);
  Result<int64_t> register_event_file(uint64_t argument, uint32_t count);
  Result<int64_t> probe(uint64_t argument, uint32_t count);

  bool put_locked(const Completion& completion);
  void announce(uint32_t completions);

  RefPtr<RingMemory> memory_;
  uint32_t sq_entries_ = 0, cq_entries_ = 0, flags_ = 0;
  Duration submission_idle_ = Duration::seconds(1);
  std::atomic<bool> disabled_{false};
  std::atomic<bool> closed_{false};

  SubmissionGate gate_;
  // Under the gate.
  std::vector<RefPtr<File>> files_;
  std::vector<Buffer> buffers_;
  bool has_files_ = false, has_buffers_ = false;

  mutable SpinLock lock_{LockRank::kPoll};
  // Under lock_.
  uint32_t cq_tail_ = 0;
  IntrusiveList<Overflow, &Overflow::node> overflow_;
  IntrusiveList<Request, &Request::all_node> requests_;
  IntrusiveList<Request, &Request::queue_node> work_;
  IntrusiveList<Request, &Request::queue_node> deferred_;
  size_t unfinished_ = 0;  ///< started and not completed
  bool draining_ = false;  ///< a drain runs: nothing else starts
  unsigned counting_timeouts_ = 0;
  unsigned workers_ = 0, idle_workers_ = 0;
  bool has_submission_thread_ = false;
  RefPtr<File> event_file_;

  WaitQueue work_queue_;
  WaitQueue submission_queue_;
  WaitQueue completion_queue_;  // waiters and pollers
};

/// The descriptor's file.
class RingFile final : public File {
 public:
  explicit RingFile(RefPtr<Ring> ring) : File(OpenFlags::kReadWrite), ring_(std::move(ring)) {}
  ~RingFile() override { ring_->close(); }
  [[nodiscard]] Ring& ring() const { return *ring_; }

  PollEvents poll(PollRegistrar* registrar) override { return ring_->poll(registrar); }
  [[nodiscard]] bool is_pollable() const override { return true; }
  Result<RefPtr<MemoryObject>> memory_object() override {
    return RefPtr<MemoryObject>(ring_->memory().get());
  }
  Result<FileStatus> status() override {
    return FileStatus{.device = 14, .inode = 1, .mode = 0600};
  }
  [[nodiscard]] std::string description() const override { return "anon_inode:[io_uring]"; }
  void* facet(const void* tag) override;

 private:
  RefPtr<Ring> ring_;
};

/// The ring behind a file, or null.
RingFile* as_ring_file(File& file);

/// Attempts an operation: execute.cpp. May sleep only as far as the caller's NoWaitScope lets it.
Outcome execute(Request& request);
/// The socket operations: execute_socket.cpp.
Outcome execute_socket(Request& request);
/// The events that a request which must wait waits for; kNone when its file cannot be waited for.
PollEvents events_to_wait_for(const Request& request);
/// The deadline in a timespec of the application, by sqe->timeout_flags. kInval.
Result<Instant> read_deadline(uint64_t address, uint32_t timeout_flags);
bool is_supported(Opcode opcode);

}  // namespace aril::linux_abi::io_uring
