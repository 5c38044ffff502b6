#include "command_line/options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ranges>

#include "manifest/values.hpp"
#include "support/error.hpp"

namespace aril::tool {

namespace {

/// Features of a manifest.
constexpr const char* kFrozen = "frozen";
constexpr const char* kWarm = "warm";

/// Roots up to this size are loaded with the kernel unless the machine is small.
constexpr uint64_t kLargestRootInMemory = uint64_t{64} << 20;

void add_content_options(CLI::App& app, ContentOptions& options) {
  app.add_option(
         "--file", options.files,
         "Put a file or directory of this host into the image, at the same path or at GUEST")
      ->type_name("HOST[:GUEST]")
      ->allow_extra_args(false);
  app.add_option("--root", options.root,
                 "Take this directory as the whole root file system, in place of host files")
      ->type_name("DIR");
  app.add_option("--env", options.environment, "Set a variable of the program's environment")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  app.add_option("--cwd", options.cwd, "Working directory of the program (default /)")
      ->type_name("DIR");
  app.add_option("--user", options.user, "User and group of the program (default 0:0)")
      ->type_name("USER[:GROUP]");
  app.add_option("--hostname", options.hostname, "Host name of the machine (default aril)")
      ->type_name("NAME");
  app.add_option("--kernel", options.kernel,
                 "Kernel to use (default $ARIL_KERNEL, else the one that belongs to this aril)")
      ->type_name("FILE");
  app.add_option("--disk-root", options.disk_root,
                 "Attach the root as a disk in place of loading it into memory (default auto: from "
                 "64 MiB or half of the memory on)")
      ->type_name("on|off|auto");
  app.add_option("--profile", options.profile,
                 "How much of the kernel the image gets (default: all with run, what the program "
                 "needs with build)")
      ->type_name("tiny|default|full");
  app.add_option("--component", options.components,
                 "Put this part of the kernel into the image, whatever the program calls; aril "
                 "components lists them")
      ->type_name("NAME")
      ->allow_extra_args(false);
}

}  // namespace

void add_run_options(CLI::App& app, RunOptions& options) {
  app.add_option("target", options.content.target,
                 "An ELF program of this host, a manifest (*.aril), or an image")
      ->type_name("PROGRAM|MANIFEST|IMAGE")
      ->required();
  app.add_option("--memory", options.memory, "Memory of the machine (default 128M)")
      ->type_name("SIZE");
  app.add_option("--cpus", options.cpus, "CPUs of the machine (default 1)")->type_name("N");
  app.add_option("--port", options.ports,
                 "Lead a port of this host (of 127.0.0.1 unless ADDRESS says otherwise) to one of "
                 "the machine; may be repeated")
      ->type_name("[ADDRESS:]HOST:GUEST[/udp]")
      ->allow_extra_args(false);
  app.add_option("--volume", options.volumes,
                 "Let the machine use a directory of this host in place, at GUESTDIR; may be "
                 "repeated")
      ->type_name("HOSTDIR:GUESTDIR[:ro]")
      ->allow_extra_args(false);
  app.add_option(
         "--disk", options.disks,
         "Mount the ext4 file system in FILE, read-only with :ro; with :size=SIZE a missing "
         "file is made and formatted; may be repeated")
      ->type_name("FILE:GUEST[:ro][:size=SIZE]")
      ->allow_extra_args(false);
  app.add_option(
         "--net", options.networks,
         "Network of the machine (default user); repeated: of a further interface, by a tap. A tap "
         "that was made with multi_queue has a queue for each CPU")
      ->type_name(
          "user|none|tap:NAME[,ip=ADDRESS/PREFIX][,gateway=ADDRESS][,ip6=ADDRESS/PREFIX]"
          "[,gateway6=ADDRESS][,nameserver=ADDRESS]")
      ->allow_extra_args(false);
  app.add_option("--platform", options.platform,
                 "Run in a virtual machine, or as one confined process of this host (default vm)")
      ->type_name("vm|process")
      ->check(CLI::IsMember({"vm", "process"}));
  app.add_option("--machine", options.machine, "Machine type (default microvm)")
      ->type_name("microvm|q35|pc");
  app.add_option("--accel", options.accelerator,
                 "Accelerator (default auto: KVM where it is fast, else TCG)")
      ->type_name("auto|kvm|tcg");
  app.add_option("--pcap", options.capture,
                 "Write the frames of the machine's network to FILE, for tcpdump and Wireshark")
      ->type_name("FILE");
  app.add_flag("--strace", options.strace, "Log the program's system calls to stderr");
  app.add_flag("--boot-timing", options.boot_timing,
               "Show on stderr when each step of the boot ended");
  app.add_flag("--gdb", options.gdb,
               "Wait for gdb before the first instruction and say how to attach it");
  app.add_flag("--verbose,-v", options.verbose, "Show the kernel's messages on stderr");
  app.add_option("--keep", options.keep, "Write the image that is run to FILE as well")
      ->type_name("FILE");
  app.add_option("--record", options.record,
                 "Write the names of the system calls that the program makes to FILE, for the "
                 "manifest's key system_calls")
      ->type_name("FILE");
  app.add_flag("--dry-run", options.dry_run, "Print the QEMU command in place of running it");
  add_content_options(app, options.content);
}

void add_build_options(CLI::App& app, BuildOptions& options) {
  app.add_option("target", options.content.target, "An ELF program of this host, or a manifest")
      ->type_name("PROGRAM|MANIFEST")
      ->required();
  app.add_option("--output,-o", options.output,
                 "The image to write; a root that is attached as a disk goes to IMAGE.root")
      ->type_name("IMAGE")
      ->required();
  app.add_flag("--frozen", options.frozen,
               "Boot the image now, and write it as the memory of a machine whose program is about "
               "to begin: it starts sooner, on a machine with the same memory and CPU");
  app.add_flag("--warm", options.warm,
               "Likewise, but with a program that has initialised itself as far as it can without "
               "network and random bytes; for it, the wall clock jumps then");
  app.add_option("--memory", options.memory, "Memory of that machine (default 128M)")
      ->type_name("SIZE");
  app.add_option("--accel", options.accelerator, "Accelerator of that machine (default auto)")
      ->type_name("auto|kvm|tcg");
  add_content_options(app, options.content);
}

void add_inspect_options(CLI::App& app, InspectOptions& options) {
  app.add_option("image", options.image, "An image that aril build wrote")
      ->type_name("IMAGE")
      ->required();
  app.add_flag("--json", options.json, "Print JSON");
  app.add_flag("--graph", options.graph,
               "Print what asked for which component as a graph for Graphviz's dot");
}

void add_components_options(CLI::App& app, ComponentsOptions& options) {
  app.add_option("--profile", options.set, "Whose archives (default default)")
      ->type_name("tiny|default");
  app.add_flag("--json", options.json, "Print JSON");
}

void add_symbolize_options(CLI::App& app, SymbolizeOptions& options) {
  app.add_option("target", options.target,
                 "The program or manifest that the report is of (default: paths are this host's)");
  app.add_option("--kernel", options.kernel, "The virtual machine's kernel, with its symbols");
}

void apply(const ContentOptions& options, Manifest& manifest) {
  if (!options.arguments.empty()) manifest.arguments = options.arguments;
  for (const std::string& file : options.files) {
    manifest.files.push_back(
        with_context("--file", [&] { return parse_file(file, std::filesystem::current_path()); }));
  }
  if (!options.root.empty()) {
    manifest.root = std::filesystem::absolute(options.root).lexically_normal();
  }
  for (const std::string& text : options.environment) {
    const auto [name, value] = with_context("--env", [&] { return parse_variable(text); });
    set_variable(manifest, name, value);
  }
  if (!options.cwd.empty()) {
    manifest.cwd = with_context("--cwd", [&] { return parse_guest_path(options.cwd); });
  }
  if (!options.user.empty()) {
    manifest.user = with_context("--user", [&] { return parse_user(options.user); });
  }
  if (!options.hostname.empty()) manifest.hostname = options.hostname;
  if (!options.profile.empty()) {
    manifest.profile = with_context("--profile", [&] { return parse_profile(options.profile); });
  }
  manifest.components.insert(manifest.components.end(), options.components.begin(),
                             options.components.end());
}

void apply(const BuildOptions& options, Manifest& manifest) {
  apply(options.content, manifest);
  if (!options.memory.empty()) {
    manifest.memory = with_context("--memory", [&] { return parse_memory(options.memory); });
  }
  if (options.frozen) manifest.features.emplace_back(kFrozen);
  if (options.warm) manifest.features.emplace_back(kWarm);
}

std::optional<FreezingPoint> freezing_point(const Manifest& manifest) {
  if (std::ranges::contains(manifest.features, kWarm)) return FreezingPoint::kInitialised;
  if (std::ranges::contains(manifest.features, kFrozen)) return FreezingPoint::kLoaded;
  return std::nullopt;
}

void apply(const RunOptions& options, Manifest& manifest) {
  apply(options.content, manifest);
  if (!options.memory.empty()) {
    manifest.memory = with_context("--memory", [&] { return parse_memory(options.memory); });
  }
  if (!options.cpus.empty()) {
    manifest.cpus = with_context("--cpus", [&] { return parse_cpus(options.cpus); });
  }
  // Ports of the command line replace the manifest's: it is there to choose others.
  if (!options.ports.empty()) manifest.ports.clear();
  for (const std::string& port : options.ports) {
    manifest.ports.push_back(with_context("--port", [&] { return parse_port(port); }));
  }
  for (const std::string& text : options.volumes) {
    Volume volume = with_context(
        "--volume", [&] { return parse_volume(text, std::filesystem::current_path()); });
    // Of the same place the command line has the last word over the manifest.
    std::erase_if(manifest.volumes, [&](const Volume& other) {
      return other.guest == volume.guest && !other.from_command_line;
    });
    volume.from_command_line = true;
    manifest.volumes.push_back(std::move(volume));
  }
  if (!options.networks.empty()) {
    manifest.network =
        with_context("--net", [&] { return parse_network(options.networks.front()); });
    for (const std::string& text : options.networks | std::views::drop(1)) {
      Network network = with_context("--net", [&] { return parse_network(text); });
      if (network.kind != NetworkKind::kTap || manifest.network->kind == NetworkKind::kNone) {
        throw Error("a machine's further interfaces are taps", "--net tap:NAME");
      }
      manifest.more_networks.push_back(std::move(network));
    }
    if (manifest.network->kind != NetworkKind::kUser && options.ports.empty()) {
      manifest.ports.clear();
    }
  }
  for (const std::string& disk : options.disks) {
    manifest.disks.push_back(
        with_context("--disk", [&] { return parse_disk(disk, std::filesystem::current_path()); }));
  }
  if (!options.machine.empty()) {
    manifest.machine = with_context("--machine", [&] { return parse_machine(options.machine); });
  }
  const bool forwards = manifest.network.value_or(Network()).kind == NetworkKind::kUser;
  if (!manifest.ports.empty() && !forwards) {
    throw Error("ports can only be forwarded with --net user",
                "a machine on a tap has an address of its own");
  }
}

uint64_t largest_root_in_memory(const ContentOptions& options, const Manifest& manifest) {
  if (options.disk_root == "auto") {
    return std::min(kLargestRootInMemory, manifest.memory.value_or(kDefaultMemory) / 2);
  }
  if (options.disk_root == "on") return 0;
  if (options.disk_root == "off") return UINT64_MAX;
  throw Error(std::format("--disk-root: '{}' is none of on, off, auto", options.disk_root));
}

}  // namespace aril::tool
