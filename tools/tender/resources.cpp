#include "resources.hpp"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "error.hpp"

namespace aril::tender {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint16_t kEthernetMtu = 1500;

void map_fixed(uint64_t at, uint64_t size, int protection, int descriptor, const char* what) {
  check(mmap(reinterpret_cast<void*>(at), size, protection,
             MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_NORESERVE, descriptor, 0),
        what);
}

void open_memory(const Options& options, ProcessBoot& boot) {
  boot.memory_size = options.memory & ~(kPage - 1);
  boot.memory_descriptor = check(memfd_create("aril-memory", MFD_CLOEXEC), "memfd_create");
  check(ftruncate(boot.memory_descriptor, static_cast<off_t>(boot.memory_size)),
        "the instance's memory");
  map_fixed(kMemoryBase, boot.memory_size, PROT_READ | PROT_WRITE, boot.memory_descriptor,
            "mmap of the instance's memory");
}

void open_root(const Options& options, ProcessBoot& boot) {
  boot.root_descriptor = open(options.root.c_str(), O_RDONLY | O_CLOEXEC);
  if (boot.root_descriptor < 0) die(options.root, errno);
  struct stat status{};
  check(fstat(boot.root_descriptor, &status), "fstat");
  boot.root_size = static_cast<uint64_t>(status.st_size) & ~(kPage - 1);
  if (boot.root_size == 0) die(options.root + ": is empty");
  map_fixed(kRootBase, boot.root_size, PROT_READ, boot.root_descriptor, "mmap of the root");
}

void random_address(ProcessBoot& boot) {
  check(getrandom(boot.network_address, sizeof boot.network_address, 0), "getrandom");
  // Locally administered, not a group.
  boot.network_address[0] = static_cast<uint8_t>((boot.network_address[0] | 2) & ~1);
}

void open_tap(const std::string& name, ProcessBoot& boot) {
  const int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap < 0) die("/dev/net/tun", errno);
  ifreq request{};
  if (name.size() >= sizeof request.ifr_name) die(name + ": no interface has such a long name");
  std::memcpy(request.ifr_name, name.c_str(), name.size());
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
  int done = ioctl(tap, TUNSETIFF, &request);
  if (done < 0 && errno == EINVAL) {
    // It was made for several queues: one of them serves.
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_MULTI_QUEUE);
    done = ioctl(tap, TUNSETIFF, &request);
  }
  if (done < 0) die("tap " + name, errno);
  constexpr int kHeader = 10;
  int header_size = kHeader;
  check(ioctl(tap, TUNSETVNETHDRSZ, &header_size), "TUNSETVNETHDRSZ");
  check(ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6), "TUNSETOFFLOAD");
  boot.network_descriptor = tap;
  boot.network_kind = 0;
  boot.network_header_size = kHeader;
  boot.network_mtu = kEthernetMtu;
  random_address(boot);
}

void open_disks(const Options& options, ProcessBoot& boot) {
  for (const DiskFile& file : options.disks) {
    const off_t size = check(lseek(file.descriptor, 0, SEEK_END), "lseek of a disk");
    boot.disks[boot.disk_count++] = {file.descriptor, file.read_only, static_cast<uint64_t>(size)};
  }
}

/// The streams stay as they are: others may share them. `aril` sees to it that there are three.
void name_streams(ProcessBoot& boot) {
  for (int stream = 0; stream < 3; ++stream) boot.console_descriptors[stream] = stream;
}

void close_others(const ProcessBoot& boot) {
  std::vector<int> kept = {0, 1, 2, boot.memory_descriptor, boot.root_descriptor};
  if (boot.network_descriptor >= 0) kept.push_back(boot.network_descriptor);
  if (boot.control_descriptor >= 0) kept.push_back(boot.control_descriptor);
  for (uint32_t i = 0; i < boot.disk_count; ++i) kept.push_back(boot.disks[i].descriptor);
  for (uint32_t i = 0; i < boot.volume_count; ++i) kept.push_back(boot.volume_descriptors[i]);
  std::sort(kept.begin(), kept.end());
  unsigned next = 0;
  for (const int descriptor : kept) {
    const auto number = static_cast<unsigned>(descriptor);
    if (number > next) syscall(SYS_close_range, next, number - 1, 0);
    next = number + 1;
  }
  syscall(SYS_close_range, next, ~0u, 0);
}

}  // namespace

void open_resources(const Options& options, ProcessBoot& boot) {
  name_streams(boot);
  open_memory(options, boot);
  open_root(options, boot);
  boot.control_descriptor = options.control;
  boot.network_descriptor = -1;
  if (!options.tap.empty()) {
    open_tap(options.tap, boot);
  } else if (options.frame_stream >= 0) {
    boot.network_descriptor = options.frame_stream;
    boot.network_kind = 1;
    boot.network_mtu = kEthernetMtu;
    random_address(boot);
    check(fcntl(options.frame_stream, F_SETFL, O_NONBLOCK), "fcntl");
  }
  open_disks(options, boot);
  for (const int volume : options.volumes) boot.volume_descriptors[boot.volume_count++] = volume;
  close_others(boot);
}

}  // namespace aril::tender
