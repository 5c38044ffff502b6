#include "balloon.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "kernel/log/log.hpp"
#include "kernel/sched/thread.hpp"

namespace aril::virtio {

using page_allocator::FreeBlock;
using page_allocator::Report;

Result<void> BalloonDriver::start() {
  uint64_t offered = transport().offered_features();
  ARIL_TRY(negotiate(kBalloonReporting));
  if (has(kBalloonReporting)) {
    // [virtio-1.2] 5.5.2 gives it number 4; QEMU and Linux leave out the queues before it that the
    // device does not offer.
    queue_index_ = 2 + ((offered & kBalloonStatistics) != 0 ? 1 : 0) +
                   ((offered & kBalloonFreePageHint) != 0 ? 1 : 0);
    ARIL_TRY(transport().connect_interrupts(*this, queue_index_ + 1));
    queue_ = ARIL_TRY(make_queue(queue_index_, kBatch));
  }
  set_live();
  return {};
}

bool BalloonDriver::report() {
  std::array<FreeBlock, kBatch> blocks;
  {
    LockGuard guard(lock_);
    if (has_failed() || queue_ == nullptr || batch_size_ != 0) return false;
  }
  size_t limit = std::min<size_t>(kBatch, queue_->size());
  size_t count = page_allocator::take_unreported(std::span(blocks).first(limit));
  if (count == 0) return false;
  std::array<Virtqueue::Buffer, kBatch> buffers;
  for (size_t i = 0; i < count; ++i)
    buffers[i] = {blocks[i].start, static_cast<uint32_t>(kPageSize << blocks[i].order)};
  bool sent = false;
  bool kick = false;
  {
    LockGuard guard(lock_);
    // The host discards what is in them: to the ring they are buffers that it writes.
    if (!has_failed() && queue_->add({}, std::span(buffers).first(count))) {
      sent = true;
      batch_ = blocks;
      batch_size_ = count;
      kick = queue_->publish();
    }
  }
  if (!sent) {
    page_allocator::put_back(std::span(blocks).first(count), Report::kFailed);
    return false;
  }
  if (kick) transport().notify(queue_index_);
  return true;
}

void BalloonDriver::wait_until_done() {
  auto is_done = [this] {
    LockGuard guard(lock_);
    return batch_size_ == 0;
  };
  static_cast<void>(done_.wait_until(is_done, Instant::never(), Interruptible::kNo));
}

size_t BalloonDriver::take_batch_locked(std::span<FreeBlock, kBatch> blocks) {
  std::ranges::copy(batch_, blocks.begin());
  return std::exchange(batch_size_, 0);
}

void BalloonDriver::on_queue_interrupt(unsigned) {
  std::array<FreeBlock, kBatch> blocks;
  size_t count = 0;
  bool broken = false;
  {
    LockGuard guard(lock_);
    if (has_failed() || queue_ == nullptr) return;
    do {
      if (queue_->take_used()) count = take_batch_locked(blocks);
    } while (!queue_->is_broken() && !queue_->arm_interrupt());
    broken = queue_->is_broken();
  }
  // Without the lock, as the page allocator's comes before it.
  page_allocator::put_back(std::span(blocks).first(count), Report::kDone);
  if (count != 0) done_.wake_all();
  if (broken) {
    fail_device("the balloon broke the ring protocol");
    on_failed();
  }
}

void BalloonDriver::on_failed() {
  std::array<FreeBlock, kBatch> blocks;
  size_t count = 0;
  {
    LockGuard guard(lock_);
    count = take_batch_locked(blocks);
  }
  // A device that does not stop may still discard them: then they are lost.
  if (device_is_stopped())
    page_allocator::put_back(std::span(blocks).first(count), Report::kFailed);
  done_.wake_all();
}

namespace {

/// Between two looks for memory that became free: what is used again at once need not be reported.
constexpr Duration kInterval = Duration::milliseconds(1000);

void run_reports(void* argument) {
  auto& driver = *static_cast<BalloonDriver*>(argument);
  while (!driver.has_failed()) {
    static_cast<void>(Thread::sleep_until(now() + kInterval, Interruptible::kNo));
    while (driver.report()) driver.wait_until_done();
  }
}

}  // namespace

constinit const DriverKind kBalloonDriver = {
    .device_id = kDeviceBalloon,
    .name = "balloon",
    .make = [](DeviceSet&, std::unique_ptr<Transport> transport) -> std::unique_ptr<Driver> {
      return std::unique_ptr<Driver>(new (std::nothrow) BalloonDriver(std::move(transport)));
    },
    .started =
        [](DeviceSet&, Driver& driver) {
          auto& balloon = static_cast<BalloonDriver&>(driver);
          if (!balloon.reports()) return;
          auto thread = Thread::create("balloon", Thread::Kind::kKernel, &run_reports, &balloon);
          if (thread) {
            (*thread)->start();
          } else {
            ARIL_LOG_ERROR("virtio", "no memory to run the balloon");
          }
        },
    .can_wait = [] { return true; },
};

}  // namespace aril::virtio
