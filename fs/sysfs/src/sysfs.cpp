#include "fs/sysfs/sysfs.hpp"

#include <new>

#include "arch/cpu.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril::sysfs {

using synthetic::append_format;
using synthetic::Directory;
using synthetic::SyntheticFileSystem;

namespace {

/// "0" or "0-3".
std::string cpu_range() {
  unsigned count = arch::cpu_count();
  return count == 1 ? "0\n" : "0-" + std::to_string(count - 1) + "\n";
}

std::string cpu_mask(uint64_t mask) {
  std::string text;
  append_format(text, "%llx\n", static_cast<unsigned long long>(mask));
  return text;
}

void add_cpus(Directory& root) {
  Directory& all = root.add_directory("devices/system/cpu");
  unsigned count = arch::cpu_count();
  uint64_t every = count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
  for (const char* name : {"online", "possible", "present"}) all.add_text(name, cpu_range());
  all.add_text("offline", "\n");
  all.add_text("isolated", "\n");
  all.add_text("kernel_max", std::to_string(arch::kMaxCpus - 1) + "\n");
  all.add_text("smt/active", "0\n");
  all.add_text("smt/control", "notsupported\n");
  for (unsigned cpu = 0; cpu < count; ++cpu) {
    Directory& one = all.add_directory("cpu" + std::to_string(cpu));
    if (cpu != 0) one.add_text("online", "1\n");
    Directory& topology = one.add_directory("topology");
    topology.add_text("physical_package_id", "0\n");
    topology.add_text("die_id", "0\n");
    topology.add_text("core_id", std::to_string(cpu) + "\n");
    topology.add_text("thread_siblings", cpu_mask(uint64_t{1} << cpu));
    topology.add_text("thread_siblings_list", std::to_string(cpu) + "\n");
    topology.add_text("core_cpus_list", std::to_string(cpu) + "\n");
    topology.add_text("core_siblings", cpu_mask(every));
    topology.add_text("core_siblings_list", cpu_range());
    topology.add_text("package_cpus_list", cpu_range());
  }
  Directory& node = root.add_directory("devices/system/node/node0");
  node.add_text("cpulist", cpu_range());
  node.add_text("cpumap", cpu_mask(every));
  node.add_text("distance", "10\n");
  node.add_file("meminfo", [](std::string& out) -> Result<void> {
    auto memory = page_allocator::statistics();
    append_format(out, "Node 0 MemTotal:       %8zu kB\nNode 0 MemFree:        %8zu kB\n",
                  memory.total_pages * 4, memory.free_pages * 4);
    return {};
  });
  Directory& nodes = root.add_directory("devices/system/node");
  for (const char* name : {"online", "possible", "has_cpu", "has_memory", "has_normal_memory"})
    nodes.add_text(name, "0\n");
}

void add_memory_management(Directory& root) {
  Directory& huge = root.add_directory("kernel/mm/transparent_hugepage");
  huge.add_file(
      "enabled",
      [](std::string& out) -> Result<void> {
        out += "always madvise [never]\n";
        return {};
      },
      [](std::string_view) -> Result<void> { return {}; });
  huge.add_text("defrag", "always defer defer+madvise madvise [never]\n");
  huge.add_text("shmem_enabled", "always within_size advise [never] deny force\n");
  huge.add_text("hpage_pmd_size", "2097152\n");
  huge.add_text("use_zero_page", "0\n");
  Directory& pool = root.add_directory("kernel/mm/hugepages/hugepages-2048kB");
  for (const char* name : {"nr_hugepages", "free_hugepages", "resv_hugepages"})
    pool.add_text(name, "0\n");
}

}  // namespace

Result<std::unique_ptr<Sysfs>> Sysfs::create() {
  RefPtr<SyntheticFileSystem> file_system = ARIL_TRY(SyntheticFileSystem::create("sysfs", kMagic));
  RefPtr<Directory> root =
      ARIL_TRY(try_make_ref<Directory>(*file_system, file_system->next_number(), 0555u));
  add_cpus(*root);
  add_memory_management(*root);
  for (const char* name : {"block", "bus", "class/net", "class/block", "class/tty", "dev/block",
                           "dev/char", "devices/virtual/dmi/id", "firmware", "fs/cgroup", "module",
                           "power", "kernel/debug", "kernel/security"})
    root->add_directory(name);
  ARIL_TRY(file_system->adopt_root(std::move(root)));
  auto* sysfs = new (std::nothrow) Sysfs(std::move(file_system));
  if (sysfs == nullptr) return fail(Errno::kNoMem);
  return std::unique_ptr<Sysfs>(sysfs);
}

void Sysfs::add_network_interface(const NetworkInterface& interface) {
  std::string device = "devices/virtual/net/" + interface.name;
  Directory& root = file_system_->root_directory();
  Directory& directory = root.add_directory(device);
  root.add_link("class/net/" + interface.name, "../../" + device);
  std::string address;
  for (uint8_t byte : interface.address)
    append_format(address, address.empty() ? "%02x" : ":%02x", byte);
  directory.add_text("address", address + "\n");
  directory.add_text("addr_len", "6\n");
  directory.add_text("ifindex", std::to_string(interface.index) + "\n");
  directory.add_text("iflink", std::to_string(interface.index) + "\n");
  directory.add_text("mtu", std::to_string(interface.mtu) + "\n");
  directory.add_text("type", std::to_string(interface.type) + "\n");
  directory.add_text("tx_queue_len", "1000\n");
  directory.add_text("flags", interface.type == 772 ? "0x9\n" : "0x1003\n");
  directory.add_text("speed", "10000\n");
  directory.add_text("duplex", "full\n");
  auto is_up = interface.link_up;
  directory.add_file("operstate", [is_up](std::string& out) -> Result<void> {
    out += !is_up || is_up() ? "up\n" : "down\n";
    return {};
  });
  directory.add_file("carrier", [is_up](std::string& out) -> Result<void> {
    out += !is_up || is_up() ? "1\n" : "0\n";
    return {};
  });
  if (!interface.counters) return;
  using Counters = NetworkInterface::Counters;
  struct Counter {
    const char* name;
    uint64_t Counters::* value;
  };
  static constexpr Counter kCounters[] = {
      {"rx_bytes", &Counters::rx_bytes},     {"rx_packets", &Counters::rx_packets},
      {"rx_dropped", &Counters::rx_dropped}, {"tx_bytes", &Counters::tx_bytes},
      {"tx_packets", &Counters::tx_packets}, {"tx_dropped", &Counters::tx_dropped},
  };
  Directory& statistics = directory.add_directory("statistics");
  for (const Counter& counter : kCounters) {
    statistics.add_file(
        counter.name,
        [read = interface.counters, member = counter.value](std::string& out) -> Result<void> {
          append_format(out, "%llu\n", static_cast<unsigned long long>(read().*member));
          return {};
        });
  }
}

void Sysfs::add_block_device(std::string_view name, uint64_t sectors, uint64_t device_number) {
  std::string device = "devices/virtual/block/" + std::string(name);
  Directory& root = file_system_->root_directory();
  Directory& directory = root.add_directory(device);
  root.add_link("class/block/" + std::string(name), "../../" + device);
  root.add_link("block/" + std::string(name), "../" + device);
  directory.add_text("size", std::to_string(sectors) + "\n");
  std::string number;
  append_format(number, "%u:%u\n", vfs::mode::major_of(device_number),
                vfs::mode::minor_of(device_number));
  directory.add_text("dev", number);
  directory.add_text("ro", "0\n");
  directory.add_text("removable", "0\n");
  directory.add_text("queue/logical_block_size", "512\n");
  directory.add_text("queue/physical_block_size", "512\n");
  directory.add_text("queue/rotational", "0\n");
}

}  // namespace aril::sysfs
