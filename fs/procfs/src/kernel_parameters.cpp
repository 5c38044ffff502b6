#include <array>
#include <atomic>
#include <charconv>
#include <limits>

#include "fs/vfs/lookup.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "kernel/random/random.hpp"
#include "system_files.hpp"

namespace aril::procfs {
namespace {

using synthetic::append_format;

/// A number that programs may look at and set, and that nothing else depends on.
struct Tunable {
  std::string_view name;
  int64_t value;
};
constexpr Tunable kTunables[] = {
    {"vm/overcommit_memory", 0},
    {"vm/overcommit_ratio", 50},
    {"vm/max_map_count", 1048576},
    {"vm/mmap_min_addr", 65536},
    {"vm/swappiness", 60},
    {"vm/dirty_ratio", 20},
    {"vm/dirty_background_ratio", 10},
    {"vm/nr_hugepages", 0},
    {"vm/drop_caches", 0},
    {"kernel/cap_last_cap", 40},
    {"kernel/ngroups_max", 65536},
    {"kernel/overflowuid", 65534},
    {"kernel/overflowgid", 65534},
    {"kernel/randomize_va_space", 2},
    {"kernel/perf_event_paranoid", 2},
    {"kernel/kptr_restrict", 1},
    {"kernel/dmesg_restrict", 1},
    {"kernel/yama/ptrace_scope", 0},
    {"kernel/sched_child_runs_first", 0},
    {"kernel/numa_balancing", 0},
    {"kernel/threads-max", 126000},
    {"kernel/core_uses_pid", 0},
    {"net/core/somaxconn", 4096},
    {"net/core/rmem_default", 212992},
    {"net/core/wmem_default", 212992},
    {"net/core/rmem_max", 4194304},
    {"net/core/wmem_max", 4194304},
    {"net/core/netdev_max_backlog", 1000},
    {"net/core/optmem_max", 20480},
    {"net/ipv4/ip_nonlocal_bind", 0},
    {"net/ipv4/ip_unprivileged_port_start", 1024},
    {"net/ipv4/ip_default_ttl", 64},
    {"net/ipv4/tcp_max_syn_backlog", 4096},
    {"net/ipv4/tcp_syncookies", 1},
    {"net/ipv4/tcp_fin_timeout", 60},
    {"net/ipv4/tcp_tw_reuse", 2},
    {"net/ipv4/tcp_keepalive_time", 7200},
    {"net/ipv4/tcp_keepalive_intvl", 75},
    {"net/ipv4/tcp_keepalive_probes", 9},
    {"net/ipv4/tcp_timestamps", 1},
    {"net/ipv4/tcp_window_scaling", 1},
    {"net/ipv4/tcp_sack", 1},
    {"net/ipv4/tcp_fastopen", 0},
    {"net/ipv4/tcp_slow_start_after_idle", 1},
    {"net/ipv4/tcp_syn_retries", 6},
    {"net/ipv4/tcp_synack_retries", 5},
    {"net/ipv4/tcp_retries2", 15},
    {"net/ipv6/bindv6only", 0},
    {"fs/nr_open", 1048576},
    {"fs/pipe-max-size", 1048576},
    {"fs/pipe-user-pages-soft", 16384},
    {"fs/aio-max-nr", 65536},
    {"fs/protected_hardlinks", 1},
    {"fs/protected_symlinks", 0},
    {"fs/suid_dumpable", 0},
    {"fs/inotify/max_queued_events", 16384},
    {"fs/inotify/max_user_instances", 128},
    {"fs/inotify/max_user_watches", 65536},
    {"fs/mqueue/msg_max", 10},
    {"fs/epoll/max_user_watches", 220000},
};

struct Constant {
  std::string_view name, text;
};
constexpr Constant kConstants[] = {
    {"kernel/ostype", "Linux\n"},
    {"kernel/core_pattern", "core\n"},
    {"kernel/tainted", "0\n"},
    {"kernel/printk", "4\t4\t1\t7\n"},
    {"kernel/random/poolsize", "256\n"},
    {"net/ipv4/ip_local_port_range", "32768\t60999\n"},
    {"net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"},
    {"net/ipv4/tcp_wmem", "4096\t16384\t4194304\n"},
    {"net/ipv4/tcp_mem", "22000\t29000\t44000\n"},
    {"net/ipv4/tcp_congestion_control", "cubic\n"},
    {"net/ipv4/tcp_available_congestion_control", "cubic reno\n"},
    {"net/ipv4/ping_group_range", "1\t0\n"},
};

/// The first number of what was written.
Result<int64_t> parse(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return fail(Errno::kInval);
  return value;
}

struct TunableValue final : RefCounted {
  explicit TunableValue(int64_t initial) : value(initial) {}
  std::atomic<int64_t> value;
};

void add_tunable(synthetic::Directory& sys, const Tunable& tunable) {
  auto state = adopt_ref(new TunableValue(tunable.value));
  sys.add_file(
      tunable.name,
      [state](std::string& out) -> Result<void> {
        append_format(out, "%lld\n", static_cast<long long>(state->value.load()));
        return {};
      },
      [state](std::string_view text) -> Result<void> {
        state->value.store(ARIL_TRY(parse(text)));
        return {};
      });
}

/// A random identity in the form of [RFC 9562] version 4.
std::string make_uuid() {
  std::array<uint8_t, 16> bytes;
  random::fill(std::as_writable_bytes(std::span(bytes)));
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    append_format(text, "%02x", bytes[i]);
  }
  return text + "\n";
}

void add_random(synthetic::Directory& sys) {
  sys.add_text("kernel/random/boot_id", make_uuid());
  sys.add_file("kernel/random/uuid", [](std::string& out) -> Result<void> {
    out += make_uuid();
    return {};
  });
  sys.add_file("kernel/random/entropy_avail", [](std::string& out) -> Result<void> {
    out += random::is_seeded() ? "256\n" : "0\n";
    return {};
  });
}

void add_names(synthetic::Directory& sys, const RefPtr<SharedSystemSource>& system) {
  sys.add_file(
      "kernel/hostname",
      [system](std::string& out) -> Result<void> {
        out += system->source.host_name ? system->source.host_name() : "aril";
        out += '\n';
        return {};
      },
      [system](std::string_view text) -> Result<void> {
        if (!system->source.set_host_name) return fail(Errno::kPerm);
        return system->source.set_host_name(text.substr(0, text.find('\n')));
      });
  sys.add_file("kernel/domainname", [system](std::string& out) -> Result<void> {
    out += system->source.domain_name ? system->source.domain_name() : "(none)";
    out += '\n';
    return {};
  });
}

}  // namespace

void add_kernel_parameters(synthetic::Directory& root, const RefPtr<SharedSystemSource>& system) {
  root.add_directory("sys").make_on_demand([system](synthetic::Directory& sys) {
    for (const Tunable& tunable : kTunables) add_tunable(sys, tunable);
    for (const Constant& constant : kConstants)
      sys.add_text(constant.name, std::string(constant.text));
    add_random(sys);
    add_names(sys, system);
    sys.add_text("kernel/osrelease", system->source.release + "\n");
    sys.add_text("kernel/version", system->source.version + "\n");
    sys.add_text("kernel/pid_max", std::to_string(system->source.pid_limit) + "\n");
    sys.add_text("fs/file-max", "9223372036854775807\n");
    sys.add_text("fs/file-nr", "0\t0\t9223372036854775807\n");
    sys.add_text("fs/dentry-state", "0\t0\t45\t0\t0\t0\n");
    sys.add_directory("fs/binfmt_misc");
  });
}

}  // namespace aril::procfs
