#pragma once
#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "kernel/io/devices.hpp"
#include "kernel/sched/mutex.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "net/stack/link_configurator.hpp"
#include "net/stack/stack.hpp"

namespace aril::net {

struct Ipv4Configuration {
  IpAddress address;
  uint8_t prefix_length = 24;
  IpAddress gateway;  ///< unspecified: none
  std::vector<IpAddress> nameservers;
};

struct Ipv6Configuration {
  IpAddress address;
  uint8_t prefix_length = 64;
  IpAddress gateway = IpAddress::v6(0, 0);  ///< unspecified: none
};

/// Runs a Stack in the kernel: its lock, a thread per device that polls it and runs timers, DHCP,
/// and what the resolver needs to know. One per machine, made by the platform.
class Runtime {
 public:
  /// Loopback works from here on. kNoMem.
  static Result<std::unique_ptr<Runtime>> create();
  /// Runtimes live as long as the machine.
  ~Runtime();

  /// Everything that touches the stack or a socket holds one of these: it locks, sets the stack's
  /// time, and at the end delivers loopback traffic, tells devices about queued frames and
  /// reschedules the timer thread. Thread context, holding no lock above LockRank::kNetStack. User
  /// memory may be touched under it, but stalls the network: prefer BlockChain::allocate and peek.
  class [[nodiscard]] Guard {
   public:
    explicit Guard(Runtime& runtime);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    Stack* operator->() const;
    Stack& stack() const;

   private:
    Runtime& runtime_;
  };

  /// The lock alone, for looking at a socket's state: what is called under it sends nothing, arms
  /// no timer, and does not depend on the time. Thread context, as for Guard.
  class [[nodiscard]] StateGuard {
   public:
    explicit StateGuard(Runtime& runtime);
    ~StateGuard();
    StateGuard(const StateGuard&) = delete;
    StateGuard& operator=(const StateGuard&) = delete;

   private:
    Runtime& runtime_;
  };

  /// Adds a device as "eth0", "eth1", ... and starts its thread. The device lives for ever. Its
  /// interface's index.
  Result<uint32_t> attach(NetDevice& device);
  /// kNoDev for an unknown index.
  Result<void> configure_static(uint32_t interface, const Ipv4Configuration& configuration);
  /// Gives the link its link-local address and looks for IPv6 routers, whose advertisements
  /// configure it further. Does not wait for them. kNoDev, kExist.
  Result<void> enable_ipv6(uint32_t interface);
  /// An IPv6 address beside whatever else there is. kNoDev.
  Result<void> configure_static(uint32_t interface, const Ipv6Configuration& configuration);
  /// Starts the DHCP client; `host_name` is announced.
  Result<void> configure_dhcp(uint32_t interface, std::string_view host_name);
  /// What configures a link when its routers leave that to DHCPv6. Nothing by default.
  void set_configurator(MakeLinkConfigurator make);
  /// Sleeps until an interface other than loopback has an IPv4 address, or an IPv6
  /// address that reaches beyond the link. kTimedOut.
  Result<void> wait_configured(Instant deadline);

  /// Sleeps until the configuration has changed more often than `seen`; the count.
  uint32_t wait_changed(uint32_t seen);
  /// The contents of /etc/resolv.conf; empty when no name server is known.
  [[nodiscard]] std::string resolver_configuration();

  /// Called with the port when a TCP socket begins to listen, with the stack's lock held.
  void set_listen_hook(void (*hook)(uint16_t port));

  /// The frames that passed each of a device's pairs of queues. Empty for what is no device's.
  [[nodiscard]] std::vector<NetDevice::QueueCounters> queue_counters(uint32_t interface);

  /// Polls every device once; true when there was work. For where their threads do not run: unit
  /// tests.
  bool poll();

 private:
  struct Implementation;
  explicit Runtime(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace aril::net
