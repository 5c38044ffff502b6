#pragma once
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

/// Leaves the host's network for one of this process alone, whose loopback is up. On Aril, which
/// has no namespaces, the machine's own is as good: nothing happens.
inline void enter_own_network() {
  if (unshare(CLONE_NEWNET) != 0) return;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  ifreq request = {};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK;
  ioctl(fd, SIOCSIFFLAGS, &request);
  close(fd);
}
