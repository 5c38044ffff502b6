#include <algorithm>
#include <cstring>

#include "base/endian.hpp"
#include "base/image_use.hpp"
#include "net/inet/inet_socket.hpp"

namespace aril::net {

namespace {

constexpr uint32_t kGetName = 0x8910, kGetList = 0x8912, kGetFlags = 0x8913, kGetAddress = 0x8915,
                   kGetDestination = 0x8917, kGetBroadcast = 0x8919, kGetNetmask = 0x891b,
                   kGetMetric = 0x891d, kGetMtu = 0x8921, kGetHardware = 0x8927, kGetIndex = 0x8933,
                   kGetQueueLength = 0x8942, kDriver = 0x8946;  // SIOCETHTOOL

constexpr int16_t kFlagUp = 1, kFlagBroadcast = 2, kFlagLoopback = 8, kFlagRunning = 0x40,
                  kFlagPromiscuous = 0x100, kFlagMulticast = 0x1000;
constexpr uint16_t kHardwareEthernet = 1, kHardwareLoopback = 772;

/// struct ifreq.
struct InterfaceRequest {
  char name[16];
  union {
    struct {
      uint16_t family;
      uint16_t port;
      Be<uint32_t> address;
    } inet;
    struct {
      uint16_t family;
      uint8_t bytes[14];
    } hardware;
    int16_t flags;
    int32_t number;
    uint8_t raw[24] = {};
  };
};
static_assert(sizeof(InterfaceRequest) == 40);

/// struct ifconf.
struct InterfaceList {
  int32_t length;
  int32_t padding;
  uint64_t buffer;
};

void set_inet(InterfaceRequest& request, uint32_t address) {
  memset(request.raw, 0, sizeof(request.raw));
  request.inet.family = std::to_underlying(Family::kInet);
  request.inet.address = address;
}

Result<int64_t> list_interfaces(Runtime& runtime, uint64_t argument) {
  InterfaceList list = ARIL_TRY(UserPtr<InterfaceList>(argument).read());
  InterfaceRequest entries[IpLayer::kMaxInterfaces];
  size_t count = 0;
  {
    Runtime::Guard guard(runtime);
    for (uint32_t i = 1; i <= guard->ip().interface_count(); ++i) {
      const Interface& interface = *guard->ip().interface(i);
      if (interface.addresses().empty()) continue;
      InterfaceRequest& entry = entries[count++];
      memset(entry.name, 0, sizeof(entry.name));
      interface.name().copy(entry.name, sizeof(entry.name) - 1);
      set_inet(entry, interface.addresses().front().address.v4_value());
    }
  }
  if (list.length < 0) return fail(Errno::kInval);
  if (list.buffer != 0) {
    count = std::min(count, static_cast<size_t>(list.length) / sizeof(InterfaceRequest));
    ARIL_TRY(UserPtr<InterfaceRequest>(list.buffer).write_array(std::span(entries).first(count)));
  }
  list.length = static_cast<int32_t>(count * sizeof(InterfaceRequest));
  ARIL_TRY(UserPtr<InterfaceList>(argument).write(list));
  return 0;
}

Result<void> answer(const Interface& interface, uint32_t request, InterfaceRequest& out) {
  auto address = [&]() -> Result<InterfaceAddress> {
    if (interface.addresses().empty()) return fail(Errno::kAddrNotAvail);
    return interface.addresses().front();
  };
  switch (request) {
    case kGetFlags:
      out.flags = kFlagUp | kFlagRunning;
      out.flags |= interface.is_loopback() ? kFlagLoopback : kFlagBroadcast | kFlagMulticast;
      if (interface.is_promiscuous()) out.flags |= kFlagPromiscuous;
      return {};
    case kGetAddress:
    case kGetDestination:
      set_inet(out, ARIL_TRY(address()).address.v4_value());
      return {};
    case kGetNetmask:
      set_inet(out, ARIL_TRY(address()).mask());
      return {};
    case kGetBroadcast: {
      InterfaceAddress own = ARIL_TRY(address());
      set_inet(out, interface.is_loopback() ? 0 : own.address.v4_value() | ~own.mask());
      return {};
    }
    case kGetHardware:
      memset(out.raw, 0, sizeof(out.raw));
      out.hardware.family = interface.is_loopback() ? kHardwareLoopback : kHardwareEthernet;
      memcpy(out.hardware.bytes, interface.hardware().data(), interface.hardware().size());
      return {};
    case kGetMtu:
      out.number = static_cast<int32_t>(interface.mtu());
      return {};
    case kGetIndex:
      out.number = static_cast<int32_t>(interface.index());
      return {};
    case kGetMetric:
      out.number = 0;
      return {};
    case kGetQueueLength:
      out.number = 1000;
      return {};
    default:
      return fail(Errno::kNoTty);
  }
}

}  // namespace

ARIL_ONLY_FOR(ioctl)
Result<int64_t> interface_ioctl(Runtime& runtime, uint32_t request, uint64_t argument) {
  // Programs take this as "nothing is known of the driver"; kNoTty they would report.
  if (request == kDriver) return fail(Errno::kOpNotSupp);
  if (request < kGetName || request > kGetQueueLength) return fail(Errno::kNoTty);
  if (request == kGetList) return list_interfaces(runtime, argument);
  UserPtr<InterfaceRequest> pointer(argument);
  InterfaceRequest value = ARIL_TRY(pointer.read());
  {
    Runtime::Guard guard(runtime);
    if (request == kGetName) {
      const Interface* interface = guard->ip().interface(static_cast<uint32_t>(value.number));
      if (interface == nullptr) return fail(Errno::kNoDev);
      memset(value.name, 0, sizeof(value.name));
      interface->name().copy(value.name, sizeof(value.name) - 1);
    } else {
      std::string_view name(value.name, strnlen(value.name, sizeof(value.name)));
      const Interface* interface = guard->ip().interface(name);
      if (interface == nullptr) return fail(Errno::kNoDev);
      ARIL_TRY(answer(*interface, request, value));
    }
  }
  ARIL_TRY(pointer.write(value));
  return 0;
}

}  // namespace aril::net
