#include <optional>

#include "kernel/log/log.hpp"
#include "net/runtime/runtime.hpp"
#include "platform/common/boot_part.hpp"
#include "platform/common/network_option.hpp"

namespace aril::platform {
namespace {

constexpr const char* kComponent = "network";

void configure(net::Runtime& runtime, uint32_t interface, const NetworkOption& option) {
  Result<void> result;
  switch (option.kind) {
    case NetworkOption::Kind::kNone:
      return;
    case NetworkOption::Kind::kDhcp:
      result = runtime.configure_dhcp(interface, "aril");
      break;
    case NetworkOption::Kind::kStatic:
      result = runtime.configure_static(
          interface, net::Ipv4Configuration{.address = option.address,
                                            .prefix_length = option.prefix_length,
                                            .gateway = option.gateway,
                                            .nameservers = option.nameservers});
      break;
  }
  if (result) result = runtime.enable_ipv6(interface);
  if (result && !option.address6.is_unspecified())
    result = runtime.configure_static(interface,
                                      net::Ipv6Configuration{.address = option.address6,
                                                             .prefix_length = option.prefix_length6,
                                                             .gateway = option.gateway6});
  if (!result) ARIL_LOG_ERROR(kComponent, "cannot be configured: error %d", int(result.error()));
}

/// What the command line says of an interface; those that it does not name ask by DHCP.
NetworkOption option_of(const KernelOptions& options, size_t number) {
  if (number > options.more_net.size()) return {};
  const std::string& text = number == 0 ? options.net : options.more_net[number - 1];
  if (auto option = parse_network_option(text)) return *std::move(option);
  ARIL_LOG_WARNING(kComponent, "not an address: net=%s; asking by DHCP", text.c_str());
  return {};
}

std::optional<sysfs::NetworkInterface> describe_interface(net::Runtime& runtime, uint32_t index) {
  constexpr uint32_t kEthernet = 1, kLoopback = 772;  // ARPHRD_*
  net::Runtime::Guard guard(runtime);
  const net::Interface* interface = guard->ip().interface(index);
  if (interface == nullptr) return std::nullopt;
  return sysfs::NetworkInterface{
      .name = std::string(interface->name()),
      .address = interface->hardware(),
      .index = index,
      .mtu = interface->mtu(),
      .type = interface->is_loopback() ? kLoopback : kEthernet,
      .link_up = nullptr,
      .counters = [&runtime, interface]() -> sysfs::NetworkInterface::Counters {
        net::Runtime::Guard lock(runtime);
        const auto& count = interface->statistics();
        return {.rx_bytes = count.received_bytes,
                .rx_packets = count.received_frames,
                .rx_dropped = count.receive_dropped,
                .tx_bytes = count.sent_bytes,
                .tx_packets = count.sent_frames,
                .tx_dropped = count.send_dropped};
      }};
}

void start_network(Boot& boot) {
  const KernelOptions& options = boot.machine.options;
  auto created = net::Runtime::create();
  if (!created) panic("no memory for the network stack: give the machine more (--memory)");
  net::Runtime& runtime = *created->release();  // lives for ever

  size_t number = 0;
  for (NetDevice* device : boot.machine.net) {
    auto interface = runtime.attach(*device);
    if (!interface) {
      ARIL_LOG_ERROR(kComponent, "no memory for an interface");
      continue;
    }
    configure(runtime, *interface, option_of(options, number++));
  }
  for (uint32_t i = 1; auto described = describe_interface(runtime, i); ++i)
    boot.interfaces.push_back(std::move(*described));
  boot.network = &runtime;
}
ARIL_MACHINE_PART(300, network, start_network);

}  // namespace

}  // namespace aril::platform
