#include "machine/taps.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

namespace aril::tool {

namespace {

/// The device's next queue: 0, or errno. EINVAL: it was made for one queue and IFF_MULTI_QUEUE asks
/// for several, or the other way round.
int attach(int descriptor, const std::string& name, int flags) {
  ifreq request{};
  std::memcpy(request.ifr_name, name.c_str(), name.size());
  request.ifr_flags = static_cast<short>(flags);
  return ioctl(descriptor, TUNSETIFF, &request) == 0 ? 0 : errno;
}

Descriptor open_device() { return Descriptor(open("/dev/net/tun", O_RDWR | O_CLOEXEC)); }

}  // namespace

Tap open_tap(const std::string& name, unsigned queues, TapHeader header) {
  Tap tap;
  // Attaching would make a device that is not there.
  if (name.size() >= IFNAMSIZ || if_nametoindex(name.c_str()) == 0) return tap;
  const int plain = IFF_TAP | IFF_NO_PI | (header == TapHeader::kOffloads ? IFF_VNET_HDR : 0);
  int flags = queues > 1 ? plain | IFF_MULTI_QUEUE : plain;
  Descriptor first = open_device();
  if (!first) return tap;
  int error = attach(first.get(), name, flags);
  if (error == EINVAL) {
    flags ^= IFF_MULTI_QUEUE;
    error = attach(first.get(), name, flags);
    if (error == 0 && queues > 1) {
      tap.has_one_queue = true;
      queues = 1;
    }
  }
  if (error != 0) return tap;
  tap.queues.push_back(std::move(first));
  while (tap.queues.size() < queues) {
    Descriptor next = open_device();
    // The host's kernel may allow fewer.
    if (!next || attach(next.get(), name, flags) != 0) break;
    tap.queues.push_back(std::move(next));
  }
  return tap;
}

}  // namespace aril::tool
