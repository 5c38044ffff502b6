#pragma once
#include <array>
#include <memory>

#include "driver.hpp"
#include "kernel/memory/page_reporting.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril::virtio {

/// virtio-balloon [virtio-1.2] 5.5, for free page reporting alone (5.5.6.7): memory that the guest
/// does not use goes back to the host, until the guest touches it again. The host's wish for a
/// smaller guest (num_pages) is not followed.
///
/// A thread of its own asks report() now and then; the answer comes by interrupt. At most one batch
/// is out at a time.
class BalloonDriver final : public Driver {
 public:
  using Driver::Driver;

  Result<void> start() override;

  /// The device takes reports.
  [[nodiscard]] bool reports() const { return queue_ != nullptr; }
  /// Shows the host what became free. False when there was nothing, or the last batch is still out.
  /// Thread context.
  bool report();
  /// Until the batch has come back. Thread context.
  void wait_until_done();

  void on_queue_interrupt(unsigned queue) override;

 protected:
  void on_failed() override;

 private:
  static constexpr size_t kBatch = 32;  ///< as many descriptors as QEMU's queue has

  /// Takes the batch out of the driver's hands, to be put back by the caller without the lock.
  size_t take_batch_locked(std::span<page_allocator::FreeBlock, kBatch> blocks);

  SpinLock lock_{LockRank::kDevice};
  std::unique_ptr<Virtqueue> queue_;
  unsigned queue_index_ = 0;
  std::array<page_allocator::FreeBlock, kBatch> batch_{};
  size_t batch_size_ = 0;  ///< 0: none is out
  WaitQueue done_;
};

}  // namespace aril::virtio
