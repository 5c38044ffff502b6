#pragma once
#include <atomic>
#include <string>

#include "abi.hpp"
#include "base/intrusive_list.hpp"
#include "kernel/io/file.hpp"
#include "kernel/sched/timer.hpp"
#include "linux/files/file_table.hpp"
#include "linux/files/io_vector.hpp"
#include "linux/process/task.hpp"
#include "linux/sockets/messages.hpp"

namespace aril::linux_abi::io_uring {

class Ring;
struct Request;

/// One registration of a request on a wait queue of its file.
struct PollEntry : WaitEntry {
  PollEntry();
  Request* request = nullptr;
  WaitQueue* queue = nullptr;
};

/// One submitted operation, from its submission to its completion.
///
/// `state` tells who may touch it. Everything else belongs to the thread that issues it
/// (kIssuing), to nobody (kWaiting, kQueued: under the ring's lock), or to the worker that runs
/// it (kRunning).
struct Request {
  enum class State : uint8_t {
    kIssuing,  ///< being prepared, or tried, by the thread that submitted it
    kHeld,     ///< behind a link or a drain
    kWaiting,  ///< for its file to become ready, or for its time
    kQueued,   ///< for a worker
    kRunning,  ///< on a worker
  };

  explicit Request(Ring& owner) : ring(&owner) {}
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  ~Request() { disarm(); }

  [[nodiscard]] Opcode opcode() const { return static_cast<Opcode>(entry.opcode); }
  [[nodiscard]] bool has_flag(uint8_t flag) const { return (entry.flags & flag) != 0; }
  [[nodiscard]] bool is_link() const { return has_flag(kLink | kHardLink); }
  /// Leaves the wait queues. No lock of theirs held.
  void disarm();

  Ring* ring;
  Submission entry;
  RefPtr<File> file;
  Request* next = nullptr;  ///< the rest of its chain

  // Under the ring's lock.
  State state = State::kIssuing;
  bool canceled = false;   ///< somebody asked for its end while it ran
  bool timed_out = false;  ///< its timer has fired
  bool woken = false;      ///< its file changed while it was not kWaiting
  bool blocks = false;     ///< for a worker that may sleep over it
  Task* runner = nullptr;  ///< while kRunning
  ListNode all_node;       ///< among all of the ring's unfinished requests
  ListNode queue_node;     ///< among those waiting for a worker, or deferred by a drain

  // Waiting for a file.
  static constexpr size_t kMaxQueues = 4;
  PollEntry entries[kMaxQueues];
  size_t entry_count = 0;
  PollEvents wanted = PollEvents::kNone;

  // Timeouts.
  Timer timer;
  Instant deadline = Instant::never();
  uint32_t completions_target = 0;  ///< TIMEOUT with a count: fires when the ring has made so many
  bool counts_completions = false;
  Request* guarded = nullptr;       ///< LINK_TIMEOUT: whom it watches; under the ring's lock
  Request* link_timeout = nullptr;  ///< whom it is watched by; under the ring's lock

  // Copied when submitted: the application may change its own at once.
  IoVector vector;
  StoredMessage message;
  net::SocketAddress address;
  bool connecting = false;
  uint64_t progress = 0;  ///< MSG_WAITALL: bytes that went through already
  Errno failure{};        ///< found when it was prepared; its chain does not start
};

}  // namespace aril::linux_abi::io_uring
