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

/// One device under the stack: its interface, its thread, frames that wait for room in its ring,
/// and its DHCP client. Everything but the thread's sleep happens under the stack's lock.
class Link final : public LinkSink, private DhcpHost, private SocketObserver {
 public:
  Link(Core& core, NetDevice& device) : core_(core), device_(device) {}

  /// Adds the interface and starts the thread.
  Result<void> start(unsigned number);
  [[nodiscard]] Interface& interface() { return *interface_; }

  Result<void> configure(const Ipv4Configuration& configuration);
  Result<void> configure(const Ipv6Configuration& configuration);
  Result<void> start_dhcp(std::string_view host_name);
  [[nodiscard]] const Ipv4Configuration& configuration() const { return configuration_; }

  /// Takes received frames, gives waiting ones. How many were received.
  unsigned poll(unsigned budget);
  /// What routers leave to DHCPv6, and what happens to its address.
  void on_ipv6_event(Ipv6Event event, IpAddress address);
  /// DHCP's timers and messages, for both families.
  void poll_dhcp();
  [[nodiscard]] Instant dhcp_deadline() const {
    return std::min(dhcp_ ? dhcp_->deadline() : Instant::never(),
                    configurator_ ? configurator_->deadline() : Instant::never());
  }
  /// Tells the device about what was queued since the last call, unless more is about to follow.
  void flush();
  void wake();

  void transmit(const TxPacket& packet) override;

 private:
  /// A frame kept until the device is done with it, or has room for it.
  struct Record;
  static constexpr size_t kMaxBacklog = 1000;  // Linux's txqueuelen

  static void run(void* self);
  static void on_device_event(void* self);
  Result<void> submit(Record& record);
  void drain_backlog();

  void send_dhcp(std::span<const std::byte> message, IpAddress destination) override;
  void lease_acquired(const DhcpLease& lease) override;
  void lease_lost() override;
  void on_socket_events(PollEvents) override {}

  Core& core_;
  NetDevice& device_;
  Interface* interface_ = nullptr;
  RefPtr<Thread> thread_;
  WaitQueue events_;
  std::atomic<bool> event_{false};
  AnswerBatch batch_;
  Ring<Record*, 16> backlog_;
  Ipv4Configuration configuration_;
  std::unique_ptr<DhcpClient> dhcp_;
  RefPtr<UdpSocket> dhcp_socket_;
  std::unique_ptr<LinkConfigurator> configurator_;
};

}  // namespace aril::net
