#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>

#include "answer_batch.hpp"
#include "kernel/io/devices.hpp"
#include "kernel/sched/thread.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "net/buffer/ring.hpp"
#include "net/dhcp/dhcp_client.hpp"
#include "net/runtime/runtime.hpp"
#include "net/stack/link_configurator.hpp"
#include "net/stack/stack.hpp"

namespace aril::net {

class Core;

/// One device under the stack: its interface, a thread for each of its queues, frames that wait for
/// room in their rings, and its DHCP client. Where there is one queue, everything but the thread's
/// sleep happens under the stack's lock. Where there are several, each on its CPU, only what the
/// stack does with a batch of frames: not taking them from the ring and giving buffers back. Frames
/// of one flow leave by one queue, so that their order stays, and come back by it.
class Link final : public LinkSink, private DhcpHost, private SocketObserver {
 public:
  Link(Core& core, NetDevice& device) : core_(core), device_(device) {}

  /// Adds the interface and starts the threads.
  Result<void> start(unsigned number);
  [[nodiscard]] Interface& interface() { return *interface_; }

  Result<void> configure(const Ipv4Configuration& configuration);
  Result<void> configure(const Ipv6Configuration& configuration);
  Result<void> start_dhcp(std::string_view host_name);
  [[nodiscard]] const Ipv4Configuration& configuration() const { return configuration_; }

  /// Takes received frames, gives waiting ones: of every queue. How many were received.
  /// Lock held; where no thread does it.
  unsigned poll(unsigned budget);
  /// What routers leave to DHCPv6, and what happens to its address.
  void on_ipv6_event(Ipv6Event event, IpAddress address);
  /// DHCP's timers and messages, for both families.
  void poll_dhcp();
  [[nodiscard]] Instant dhcp_deadline() const {
    return std::min(dhcp_ ? dhcp_->deadline() : Instant::never(),
                    configurator_ ? configurator_->deadline() : Instant::never());
  }
  /// Decides whether the device shall be told of what was queued, unless more is about to follow.
  /// True: then flush().
  [[nodiscard]] bool end_batches() {
    bool due = false;
    for (Queue& queue : queues()) {
      if (!queue.batch.is_empty()) end_batch(queue);
      due |= queue.needs_flush.load(std::memory_order_relaxed);
    }
    return due;
  }
  /// Frames are queued that the device is to be told of later.
  [[nodiscard]] bool has_frames() {
    return std::ranges::any_of(queues(), [](Queue& queue) { return !queue.batch.is_empty(); });
  }
  /// Tells it. Without the lock.
  void flush();
  [[nodiscard]] NetDevice& device() { return device_; }

  void transmit(const TxPacket& packet) override;

 private:
  /// A frame kept until the device is done with it, or has room for it.
  struct Record;
  static constexpr size_t kMaxBacklog = 1000;  // Linux's txqueuelen

  /// One of the device's pairs of queues.
  struct Queue {
    Link* link = nullptr;
    uint8_t index = 0;
    RefPtr<Thread> thread;
    WaitQueue events;
    std::atomic<bool> event{false};
    AnswerBatch batch;
    /// Set after frames were queued, under the stack's lock; cleared before the device is told.
    std::atomic<bool> needs_flush{false};
    Ring<Record*, 16> backlog;

    void wake();
  };

  Result<void> make_queues();
  static void run(void* queue);
  static void on_device_event(void* queue);
  static void deliver(void* self, std::span<const RxFrame> frames);
  static void deliver_locking(void* queue, std::span<const RxFrame> frames);
  [[nodiscard]] bool serve(Queue& queue);
  void prepare_poll(Queue& queue);
  unsigned poll(Queue& queue, unsigned budget);
  void end_batch(Queue& queue);
  [[nodiscard]] Queue& queue_of(const TxPacket& packet);
  Result<void> submit(Queue& queue, Record& record);
  void drain_backlog(Queue& queue);
  [[nodiscard]] std::span<Queue> queues() { return {queues_.get(), queue_count_}; }

  void send_dhcp(std::span<const std::byte> message, IpAddress destination) override;
  void lease_acquired(const DhcpLease& lease) override;
  void lease_lost() override;
  void on_socket_events(PollEvents) override {}

  Core& core_;
  NetDevice& device_;
  Interface* interface_ = nullptr;
  std::unique_ptr<Queue[]> queues_;
  unsigned queue_count_ = 0;
  uint32_t flow_seed_ = 0;
  Ipv4Configuration configuration_;
  std::unique_ptr<DhcpClient> dhcp_;
  RefPtr<UdpSocket> dhcp_socket_;
  std::unique_ptr<LinkConfigurator> configurator_;
};

}  // namespace aril::net
