#include "specialize/selection.hpp"

#include <algorithm>
#include <format>

#include "elf/elf_file.hpp"
#include "specialize/system_call_scan.hpp"
#include "support/error.hpp"
#include "support/file.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

constexpr uint32_t kUnix = 1, kInet = 2, kInet6 = 10, kNetlink = 16, kPacket = 17;

/// What any program may run into, and what costs next to nothing.
constexpr const char* kAlways[] = {"exit", "exit_group", "restart_syscall"};

constexpr const char* kNamedComponent = "the manifest's components";

/// Which system calls, if a program makes them, need a step of the boot. Without any of them the
/// step is left out.
struct PartRule {
  const char* part;
  std::vector<const char*> calls;
};
const std::vector<PartRule>& part_rules() {
  static const std::vector<PartRule> rules = {
      {"510.fifo", {"mknod", "mknodat"}},
      {"431.mqueue", {"mq_open"}},
      {"402.overlay",
       {"creat", "mkdir", "mkdirat", "rename", "renameat", "renameat2", "unlink", "unlinkat",
        "symlink", "symlinkat", "link", "linkat", "mknod", "mknodat", "ftruncate", "truncate"}},
  };
  return rules;
}

/// Components that a call reaches through a weak symbol, so that they are there only when they are
/// named to the linker.
struct ComponentRule {
  const char* component;
  std::vector<const char*> calls;
};
const std::vector<ComponentRule>& component_rules() {
  static const std::vector<ComponentRule> rules = {
      {"linux_multiprocess", {"fork", "vfork"}},
      {"linux_seccomp", {"prctl", "seccomp"}},
      {"linux_time", {"setrlimit", "prlimit64"}},
      {"linux_vdso", {"clock_gettime", "clock_getres", "gettimeofday", "time", "getcpu"}},
  };
  return rules;
}

/// Components that the kernel calls through weak symbols and can do without, unless one of these
/// steps of the boot or components is there, which cannot.
struct OptionalComponent {
  const char* component;
  std::vector<const char*> needed_by;
};
const std::vector<OptionalComponent>& optional_components() {
  static const std::vector<OptionalComponent> all = {
      {"linux_patch", {"linux_multiprocess"}},
      {"linux_trace", {"520.strace"}},
      {"linux_tty", {"430.pts"}},
      {"linux_vdso", {}},
      {"platform_acpi", {"210.pci", "100.cpus"}},
  };
  return all;
}

struct Evidence {
  std::map<uint32_t, std::string> calls;  ///< number -> file
  std::map<std::string, std::string> paths;
  std::set<uint32_t> families;
  bool any_family = false;
  bool raw_sockets = false;
  size_t unresolved = 0;
  std::map<std::string, SystemCallScan> scans;
};

void scan_file(const std::string& name, std::span<const std::byte> bytes, Evidence& evidence) {
  SystemCallScan scan;
  try {
    scan = scan_system_calls(bytes);
  } catch (const Error&) {
    return;  // for another machine, or no program after all: it goes along as a file
  }
  for (const uint32_t number : scan.numbers) evidence.calls.emplace(number, name);
  for (const std::string& path : scan.paths) evidence.paths.emplace(path, name);
  if (scan.socket_families) {
    evidence.families.insert(scan.socket_families->begin(), scan.socket_families->end());
  } else {
    evidence.any_family = true;
  }
  evidence.raw_sockets |= scan.may_make_raw_sockets;
  evidence.unresolved += scan.unresolved;
  evidence.scans.emplace(name, std::move(scan));
}

Evidence scan_tree(const Tree& tree) {
  Evidence evidence;
  for (const auto& [path, entry] : tree.entries()) {
    if (entry.kind == EntryKind::kHostFile &&
        looks_like_elf(bytes_of(read_prefix(entry.host, 4)))) {
      scan_file(path, MappedFile(entry.host).bytes(), evidence);
    } else if (entry.kind == EntryKind::kContent && looks_like_elf(bytes_of(entry.text))) {
      scan_file(path, bytes_of(entry.text), evidence);
    }
  }
  return evidence;
}

class Selector {
 public:
  Selector(const Manifest& manifest, const std::vector<Component>& components)
      : manifest_(manifest), components_(components) {
    selection_.set = manifest.profile == Profile::kTiny ? "tiny" : "default";
    for (const Component& component : components) {
      for (const auto& [name, number] : component.calls) numbers_[number] = name;
      for (const std::string& part : component.parts) known_parts_.insert(part);
    }
  }

  Selection run(const Tree& tree) {
    Evidence evidence = scan_tree(tree);
    for (const auto& [number, file] : evidence.calls) {
      if (const auto found = numbers_.find(number); found != numbers_.end()) {
        add_call(found->second, "in " + file);
      }
    }
    for (const char* name : kAlways) add_call(name, "every program");
    for (const std::string& name : manifest_.system_calls) {
      if (!add_call(name, "the manifest's system_calls")) {
        throw Error(std::format("system_calls: no component serves '{}'", name));
      }
    }
    if (selection_.calls.contains("rt_sigaction")) add_call("rt_sigreturn", "signal handlers");
    if (evidence.unresolved != 0) {
      selection_.notes.push_back(
          std::format("{} syscall instructions get their number in a way that the analysis does "
                      "not follow; aril run --record shows what they do",
                      evidence.unresolved));
    }
    add_components();
    add_core();
    add_devices(evidence);
    add_network(evidence);
    add_files(evidence);
    for (const PartRule& rule : part_rules()) {
      for (const char* call : rule.calls) {
        if (selection_.calls.contains(call))
          add_part(rule.part, std::format("system call {}", call));
      }
    }
    // glibc's fork is a clone, as a thread is: who also waits for children makes them.
    const auto makes = [&](const char* call) {
      const auto found = selection_.calls.find(call);
      return found != selection_.calls.end() && found->second != kNamedComponent;
    };
    if ((makes("clone") || makes("clone3")) && (makes("wait4") || makes("waitid"))) {
      selection_.components.insert("linux_multiprocess");
    }
    for (const ComponentRule& rule : component_rules()) {
      for (const char* call : rule.calls) {
        // Whoever names components gets those; a program that makes the call needs more.
        if (makes(call)) selection_.components.insert(rule.component);
      }
    }
    if (selection_.parts.contains("402.overlay")) {
      add_part("460.temporary", selection_.parts["402.overlay"]);
    }
    decide_on_optional_components();
    selection_.scans = std::move(evidence.scans);
    return std::move(selection_);
  }

 private:
  bool is_tiny() const { return manifest_.profile == Profile::kTiny; }

  bool add_call(const std::string& name, const std::string& reason) {
    const bool known = std::ranges::any_of(
        components_, [&](const Component& component) { return component.calls.contains(name); });
    if (known) selection_.calls.emplace(name, reason);
    return known;
  }
  void add_part(const std::string& part, const std::string& reason) {
    if (known_parts_.contains(part)) selection_.parts.emplace(part, reason);
  }

  void add_components() {
    for (const std::string& name : manifest_.components) {
      const auto found = std::ranges::find(components_, name, &Component::name);
      if (found == components_.end()) {
        throw Error(std::format("components: there is no component '{}'", name),
                    "aril components lists them");
      }
      selection_.components.insert(name);
      for (const auto& [call, number] : found->calls) add_call(call, kNamedComponent);
    }
    static const std::map<std::string, std::vector<std::string>> features = {
        {"network",
         {"110.virtio_net", "300.network", "490.resolver", "512.inet", "513.netlink", "514.packet",
          "515.raw"}},
        {"dhcpv6", {"301.dhcpv6"}},
        {"unix-sockets", {"511.unix"}},
        {"writable-root", {"402.overlay", "460.temporary"}},
        {"proc", {"440.proc"}},
        {"sys", {"450.sys", "451.sys_devices"}},
        {"dev", {"410.dev", "420.shm"}},
        {"terminals", {"430.pts"}},
        {"patching", {}},
        {"disks", {"111.virtio_block", "480.disks"}},
        {"volumes", {"114.virtio_9p", "470.volumes"}},
        {"pci", {"210.pci"}},
        {"cpus", {"100.cpus"}},
        {"strace", {"520.strace"}},
        {"signals", {"910.control"}},
        {"random", {"113.virtio_entropy", "920.waiting_devices"}},
        {"boot-timing", {"295.observe", "990.timing"}},
        {"frozen", {"050.freeze", "600.watch", "905.thaw", "451.sys_devices"}},
        {"warm", {"050.freeze", "600.watch", "905.thaw", "451.sys_devices"}},
        {"balloon", {"115.virtio_balloon", "920.waiting_devices"}},
    };
    for (const std::string& feature : manifest_.features) {
      // Some are components rather than steps of the boot.
      if (feature == "terminals") selection_.components.insert("linux_tty");
      if (feature == "patching") selection_.components.insert("linux_patch");
      const auto found = features.find(feature);
      if (found == features.end()) {
        std::string known;
        for (const auto& [name, parts] : features) known += (known.empty() ? "" : ", ") + name;
        throw Error(std::format("features: there is no feature '{}'", feature), known);
      }
      for (const std::string& part : found->second) add_part(part, "feature " + feature);
    }
  }

  void add_core() {
    for (const char* part : {"112.virtio_console", "200.mmio", "290.devices", "400.root",
                             "404.mount_root", "500.linux", "900.program"}) {
      add_part(part, "every image");
    }
  }

  void decide_on_optional_components() {
    for (const OptionalComponent& optional : optional_components()) {
      const bool needed = std::ranges::any_of(optional.needed_by, [&](const char* other) {
        return selection_.parts.contains(other) || selection_.components.contains(other);
      });
      if (needed || !is_tiny()) selection_.components.insert(optional.component);
      if (!selection_.components.contains(optional.component)) {
        selection_.left_out.insert(optional.component);
      }
    }
  }

  void add_devices(const Evidence& evidence) {
    const MachineType machine = manifest_.machine.value_or(MachineType::kMicrovm);
    if (machine != MachineType::kMicrovm) add_part("210.pci", "the machine has PCI");
    if (manifest_.cpus.value_or(1) > 1) add_part("100.cpus", "several CPUs");
    if (!manifest_.disks.empty()) {
      for (const char* part : {"111.virtio_block", "480.disks"}) add_part(part, "disks");
    }
    if (!manifest_.volumes.empty()) {
      for (const char* part : {"114.virtio_9p", "470.volumes"}) add_part(part, "volumes");
    }
    if (is_tiny()) {
      if (selection_.calls.contains("rt_sigaction") &&
          selection_.calls.contains("rt_sigprocmask") && evidence.calls.contains(kSocketNumber)) {
        add_part("910.control", "signals for a server");
      }
      return;
    }
    for (const char* part :
         {"100.cpus", "210.pci", "111.virtio_block", "113.virtio_entropy", "115.virtio_balloon",
          "295.observe", "520.strace", "910.control", "920.waiting_devices", "990.timing"}) {
      add_part(part, "profile default");
    }
  }

  void add_network(const Evidence& evidence) {
    if (!evidence.calls.contains(kSocketNumber) && !evidence.calls.contains(kSocketPairNumber))
      return;
    const bool all = evidence.any_family || !is_tiny();
    if (all || evidence.families.contains(kUnix)) {
      add_part("511.unix", all ? "system call socket" : "socket(AF_UNIX)");
    }
    const bool ip = std::ranges::any_of(evidence.families, [](uint32_t family) {
      return family == kInet || family == kInet6 || family == kNetlink || family == kPacket;
    });
    if (all || ip) {
      for (const char* part : {"110.virtio_net", "300.network", "512.inet"}) {
        add_part(part, all ? "system call socket" : "socket(AF_INET)");
      }
      if (all || evidence.raw_sockets) {
        add_part("515.raw", all ? "system call socket" : "socket(AF_INET, SOCK_RAW)");
      }
      if (!is_tiny()) {
        for (const char* part : {"301.dhcpv6", "490.resolver"}) add_part(part, "profile default");
      }
      if (all || evidence.families.contains(kNetlink)) {
        add_part("513.netlink", all ? "system call socket" : "socket(AF_NETLINK)");
      }
      if (all || evidence.families.contains(kPacket)) {
        add_part("514.packet", all ? "system call socket" : "socket(AF_PACKET)");
      }
    }
  }

  void add_files(const Evidence& evidence) {
    static const std::map<std::string, std::vector<const char*>> parts = {{"/proc", {"440.proc"}},
                                                                          {"/sys", {"450.sys"}},
                                                                          {"/dev", {"410.dev"}},
                                                                          {"/dev/shm", {"420.shm"}},
                                                                          {"/dev/pt", {"430.pts"}}};
    const bool opens = selection_.calls.contains("open") || selection_.calls.contains("openat");
    for (const auto& [path, names] : parts) {
      if (is_tiny() && (!evidence.paths.contains(path) || !opens)) continue;
      for (const char* part : names) {
        add_part(part, is_tiny() ? std::format("the text {} in {}", path, evidence.paths.at(path))
                                 : std::string("profile default"));
      }
    }
    if (!is_tiny()) {
      for (const char* part : {"402.overlay", "460.temporary", "510.fifo"}) {
        add_part(part, "profile default");
      }
    }
  }

  static constexpr uint32_t kSocketNumber = 41, kSocketPairNumber = 53;
  const Manifest& manifest_;
  const std::vector<Component>& components_;
  std::map<uint32_t, std::string> numbers_;
  std::set<std::string> known_parts_;
  Selection selection_;
};

}  // namespace

Selection select_components(const Manifest& manifest, const Tree& tree,
                            const std::vector<Component>& components) {
  return Selector(manifest, components).run(tree);
}

}  // namespace aril::tool
