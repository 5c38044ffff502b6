#include "linux/event/poller.hpp"

#include "kernel/sched/timer.hpp"

namespace aril::linux_abi {

namespace {

/// The calling thread's registrations on the queues of all polled files. An entry wakes the thread
/// but does not consume the wake-up: polling is not taking.
class PollWait final : public PollRegistrar {
 public:
  ~PollWait() override {
    for (Chunk* chunk = &first_; chunk != nullptr; chunk = chunk->next.get()) {
      for (size_t i = 0; i < chunk->count; ++i) chunk->entries[i].queue->remove(chunk->entries[i]);
    }
    while (first_.next) first_.next = std::move(first_.next->next);
  }

  void watch(WaitQueue& queue) override {
    if (last_->count == kChunkEntries) {
      last_->next.reset(new (std::nothrow) Chunk);
      if (last_->next == nullptr) {
        out_of_memory_ = true;
        return;
      }
      last_ = last_->next.get();
    }
    Entry& entry = last_->entries[last_->count++];
    entry.thread = &thread_;
    entry.queue = &queue;
    queue.add(entry);
  }
  [[nodiscard]] bool out_of_memory() const { return out_of_memory_; }

 private:
  struct Entry : WaitEntry {
    Entry() : WaitEntry(&notify) {}
    static bool notify(WaitEntry& entry, uint32_t) {
      static_cast<Entry&>(entry).thread->wake();
      return false;
    }
    ThreadWaiter* thread = nullptr;
    WaitQueue* queue = nullptr;
  };
  static constexpr size_t kChunkEntries = 12;
  struct Chunk {
    Entry entries[kChunkEntries];
    size_t count = 0;
    std::unique_ptr<Chunk> next;
  };

  ThreadWaiter thread_;
  Chunk first_;
  Chunk* last_ = &first_;
  bool out_of_memory_ = false;
};

bool look(PollRequest& request, PollRegistrar* registrar) {
  if (request.file) {
    request.result =
        request.file->poll(registrar) & (request.wanted | PollEvents::kErr | PollEvents::kHup);
  }
  return request.result != PollEvents::kNone;
}

size_t look_at_all(std::span<PollRequest> requests) {
  size_t count = 0;
  for (PollRequest& request : requests) count += look(request, nullptr) ? 1 : 0;
  return count;
}

}  // namespace

Result<size_t> poll_files(std::span<PollRequest> requests, Instant deadline) {
  size_t count = look_at_all(requests);
  if (count != 0 || deadline <= now()) return count;

  PollWait wait;
  for (PollRequest& request : requests) (void)look(request, &wait);
  if (wait.out_of_memory()) return fail(Errno::kNoMem);
  for (;;) {
    ThreadWaiter::prepare();
    count = look_at_all(requests);
    if (count != 0) {
      ThreadWaiter::cancel();
      return count;
    }
    WakeReason reason = ThreadWaiter::block(deadline, Interruptible::kYes);
    if (reason == WakeReason::kWoken) continue;
    count = look_at_all(requests);
    if (count != 0 || reason == WakeReason::kTimedOut) return count;
    return fail(Errno::kRestart);
  }
}

}  // namespace aril::linux_abi
