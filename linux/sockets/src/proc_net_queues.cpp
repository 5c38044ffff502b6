#include <string>

#include "family_table.hpp"
#include "fs/procfs/procfs.hpp"
#include "linux/proc/proc_files.hpp"

/// /proc/net/aril_queues: the frames that passed each pair of queues of each network device. Linux
/// tells them through ethtool, under names that differ from driver to driver.
namespace aril::linux_abi {

namespace {

Result<void> list_queues(std::string& out) {
  if (inet_runtime() == nullptr) return {};
  out += "Interface Queue Received Sent\n";
  uint32_t count = 0;
  {
    net::Runtime::Guard guard(*inet_runtime());
    count = guard->ip().interface_count();
  }
  for (uint32_t i = 1; i <= count; ++i) {
    const auto queues = inet_runtime()->queue_counters(i);
    std::string name;
    {
      net::Runtime::Guard guard(*inet_runtime());
      name = guard->ip().interface(i)->name();
    }
    unsigned queue = 0;
    for (const NetDevice::QueueCounters& frames : queues)
      synthetic::append_format(out, "%s %u %lu %lu\n", name.c_str(), queue++, frames.received,
                               frames.sent);
  }
  return {};
}

void add_files(procfs::Procfs& procfs) { procfs.add_file("net/aril_queues", list_queues); }
ARIL_PROC_FILES(add_files);

}  // namespace
}  // namespace aril::linux_abi
