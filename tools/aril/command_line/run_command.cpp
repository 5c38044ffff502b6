#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <format>
#include <fstream>
#include <set>

#include "command_line/commands.hpp"
#include "command_line/run_process.hpp"
#include "command_line/target.hpp"
#include "image/image_elf.hpp"
#include "image/root_builder.hpp"
#include "machine/disks.hpp"
#include "machine/machine_process.hpp"
#include "machine/ports.hpp"
#include "machine/qemu_command.hpp"
#include "machine/taps.hpp"
#include "machine/tsc.hpp"
#include "relay/relay.hpp"
#include "relay/terminal.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/text.hpp"
#include "symbolizer/symbolizer.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

/// Records longer than this travel in the image in place of the kernel's command line.
constexpr size_t kLongestCommandLine = 1536;
/// What the kernel needs beside itself and its root before it can say anything.
constexpr uint64_t kSmallestWorkingMemory = uint64_t{64} << 10;

void say(const std::string& line) { std::fputs((line + "\n").c_str(), stderr); }

/// What is going to be booted, and what is known about it on this host.
struct Boot {
  ImageFiles image;
  std::string words;                      ///< boot records for the command line
  Tree tree;                              ///< empty for a finished image
  fs::path program;                       ///< likewise
  fs::path kernel;                        ///< with symbols; may be missing for a finished image
  std::optional<uint64_t> frozen_memory;  ///< of the machine that it was frozen on
};

Boot boot_of_image(const RunOptions& options, const Manifest& manifest) {
  Boot boot;
  boot.image.image = fs::absolute(options.content.target);
  const fs::path root = boot.image.image.string() + ".root";
  std::error_code ignored;
  const ImageInfo info = with_context(options.content.target, [&] {
    return read_image(MappedFile(options.content.target).bytes());
  });
  if (info.frozen_memory != 0) boot.frozen_memory = info.frozen_memory;
  if (info.descriptor.root_size == 0) {
    if (!fs::exists(root, ignored)) {
      throw Error(std::format("{}: has no root in it, and {} is missing", options.content.target,
                              root.string()));
    }
    boot.image.root = root;
  }
  if (!manifest.files.empty() || manifest.root) {
    throw Error(std::format("{}: is a finished image; --file and --root cannot change it",
                            options.content.target));
  }
  BootRecords records;
  if (!manifest.arguments.empty()) {
    records.arguments = manifest.arguments;
    records.arguments.insert(records.arguments.begin(), options.content.target);
  }
  records.environment = manifest.environment;
  records.cwd = manifest.cwd;
  records.hostname = manifest.hostname;
  records.user = manifest.user;
  boot.words = to_command_line(records);
  try {
    boot.kernel = find_kernel(options.content.kernel);
  } catch (const Error&) {
    boot.kernel = boot.image.image;  // an image runs without the kernel's symbols too
  }
  return boot;
}

Boot boot_of_program(const RunOptions& options, const Manifest& manifest) {
  Boot boot;
  RootPlan plan = plan_root(manifest);
  boot.tree = plan.tree;  // for symbols: the host's files as they are
  const KernelFiles kernel = choose_kernel(options.content, manifest, plan.tree).files;
  boot.kernel = kernel.elf;
  boot.words = to_command_line(plan.records);
  if (boot.words.size() > kLongestCommandLine) {
    plan.tree.add_content(kBootRecordsPath, to_file_content(plan.records));
    boot.words.clear();
  }
  if (options.verbose) {
    for (const MissingLibrary& missing : plan.warnings) {
      say(std::format("aril: warning: {} needs {}, which is not on this host",
                      missing.needed_by.string(), missing.name));
    }
  }
  const uint64_t largest = largest_root_in_memory(options.content, manifest);
  boot.image = cached_image(kernel, plan.tree, largest);
  if (!options.keep.empty()) {
    Tree complete = plan.tree;
    complete.add_content(kBootRecordsPath, to_file_content(plan.records));
    write_image_files(kernel, complete, largest, options.keep);
  }
  boot.program = plan.program;
  return boot;
}

/// Says what the image is.
ImageInfo check_memory(const MachineConfig& config) {
  const MappedFile file(config.image.image);
  ImageInfo info =
      with_context(config.image.image.string(), [&] { return read_image(file.bytes()); });
  // A frozen image has all that it works with in it, at the places where it was.
  const uint64_t needed =
      info.frozen_memory != 0 ? info.frozen_memory : info.memory_end + kSmallestWorkingMemory;
  if (config.memory < needed) {
    throw Error(std::format("{} of memory are too little: the image alone needs {}",
                            human_size(config.memory), human_size(needed)),
                std::format("--memory {}M", (needed + (1 << 20) - 1) >> 20));
  }
  return info;
}

/// The machine's taps, with a queue for each CPU where they have as many, and notes in `config`
/// what was opened.
std::vector<Descriptor> open_taps(MachineConfig& config) {
  std::vector<Descriptor> descriptors;
  const auto open = [&](const Network& network) {
    unsigned& count = config.tap_queues.emplace_back(0);
    if (network.kind != NetworkKind::kTap) return;
    const unsigned wanted = wanted_tap_queues(config, network);
    Tap tap = open_tap(network.tap, wanted,
                       config.capture.empty() || &network != &config.network ? TapHeader::kOffloads
                                                                             : TapHeader::kNone);
    if (tap.has_one_queue) {
      say(
          std::format("aril: {0} has one queue, which the machine's {1} CPUs share: "
                      "`ip tuntap add dev {0} mode tap multi_queue` makes it with several",
                      network.tap, config.cpus));
    }
    count = static_cast<unsigned>(tap.queues.size());
    for (Descriptor& queue : tap.queues) descriptors.push_back(std::move(queue));
  };
  open(config.network);
  for (const Network& network : config.more_networks) open(network);
  return descriptors;
}

std::string kernel_words(const RunOptions& options, const Boot& boot, const MachineConfig& config,
                         const TscMeter& tsc, Terminals terminals) {
  std::vector<std::string> words;
  if (!boot.words.empty()) words.push_back(boot.words);
  words.push_back(config.image.root ? "root=vda" : "root=ram");
  words.push_back(network_word(config.network));
  for (const Network& network : config.more_networks) words.push_back(network_word(network));
  for (std::string& word : disk_words(config.disks, config.image.root.has_value())) {
    words.push_back(std::move(word));
  }
  words.emplace_back(options.verbose ? "loglevel=7" : "loglevel=4");
  words.emplace_back("stdio=hvc");
  if (terminals == Terminals::kYes) {
    for (std::string& word : terminal_words()) words.push_back(std::move(word));
  }
  for (const SharedDirectory& shared : config.volumes) words.push_back(volume_word(shared));
  if (options.strace || !options.record.empty()) words.emplace_back("strace");
  if (options.boot_timing) words.emplace_back("boot_timing");
  if (options.gdb) words.emplace_back("aslr=off");
  // Under KVM the machine's own clock is better than any measurement.
  if (config.accelerator == Accelerator::kTcg) {
    words.push_back(std::format("tsc_khz={}", tsc.rate()));
  }
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  words.push_back(std::format("epoch_ns={}",
                              std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()));
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + word;
  return line;
}

/// The command that attaches gdb with the symbols of kernel and program. With aslr=off a
/// position-independent program lies where Linux puts it without randomisation.
std::string gdb_command(const Boot& boot, uint16_t port) {
  constexpr uint64_t kProgramBase = 0x5555'5555'4000;
  std::vector<std::string> command = {"gdb", boot.kernel, "-ex",
                                      std::format("target remote 127.0.0.1:{}", port)};
  if (!boot.program.empty()) {
    const ElfFile elf = parse_elf(MappedFile(boot.program).bytes());
    command.insert(command.end(),
                   {"-ex", std::format("add-symbol-file {} -o {:#x}", boot.program.string(),
                                       elf.type == ET_DYN ? kProgramBase : 0)});
  }
  return shell_quote(command);
}

Symbolizer::FindFile file_finder(const Boot& boot) {
  return [&boot](const std::string& path) -> std::optional<fs::path> {
    if (boot.tree.find(path) != nullptr) return host_file(boot.tree, path);
    std::error_code ignored;
    if (boot.program.empty() && fs::is_regular_file(path, ignored)) return path;
    return std::nullopt;
  };
}

}  // namespace

int run(const RunOptions& options) {
  const TscMeter tsc;
  const TargetKind kind = classify_target(options.content.target);
  Manifest manifest;
  if (kind != TargetKind::kImage) manifest = manifest_of(options.content.target, kind);
  apply(options, manifest);
  if (!options.record.empty()) manifest.profile = Profile::kFull;  // nothing may be missing
  if (options.platform == "process") {
    if (kind == TargetKind::kImage) {
      throw Error("a finished image runs in a virtual machine",
                  "--platform process wants the program or its manifest");
    }
    return run_as_process(options, manifest);
  }
  const AcceleratorChoice choice = parse_accelerator(options.accelerator);

  Boot boot = kind == TargetKind::kImage ? boot_of_image(options, manifest)
                                         : boot_of_program(options, manifest);
  MachineConfig config;
  config.image = boot.image;
  config.type = manifest.machine.value_or(MachineType::kMicrovm);
  config.memory = manifest.memory.value_or(boot.frozen_memory.value_or(kDefaultMemory));
  config.cpus = manifest.cpus.value_or(1);
  config.network = manifest.network.value_or(Network());
  config.more_networks = manifest.more_networks;
  config.ports = manifest.ports;
  config.volumes = share_volumes(manifest.volumes);
  config.disks = manifest.disks;
  const Terminals terminals =
      check_memory(config).descriptor.has_terminals != 0 ? Terminals::kYes : Terminals::kNo;
  const std::string qemu = find_qemu();
  config.accelerator = choose_accelerator(choice, qemu);
  if (!options.dry_run) check_ports(config.ports);
  std::vector<Descriptor> locks;
  if (!options.dry_run) locks = prepare_disks(config.disks, say);
  if (!options.capture.empty()) {
    if (config.network.kind == NetworkKind::kNone) {
      throw Error("--pcap: the machine has no network", "choose --net user or --net tap:NAME");
    }
    std::ofstream file(options.capture);
    if (!file) throw Error(std::format("--pcap: cannot write {}", options.capture.string()));
    config.capture = options.capture;
  }
  if (options.gdb) {
    config.gdb_port = free_port(1234);
    say("aril: the machine waits for gdb:\n  " + gdb_command(boot, *config.gdb_port));
  }
  std::vector<Descriptor> taps = open_taps(config);
  config.kernel_command_line = kernel_words(options, boot, config, tsc, terminals);
  const std::vector<std::string> command = qemu_command(qemu, config);
  if (options.dry_run) {
    std::puts(shell_quote(command).c_str());
    return 0;
  }
  block_forwarded_signals();
  MachineProcess machine = MachineProcess::start_qemu(command, std::move(taps));
  Symbolizer symbolizer(boot.kernel, file_finder(boot));
  Relay relay(machine, symbolizer,
              options.verbose ? Verbosity::kKernelLog : Verbosity::kProgramOnly, terminals,
              options.gdb ? MachineWatch::Questions::kNone : MachineWatch::Questions::kAsk);
  std::set<std::string> calls;
  if (!options.record.empty()) relay.record_calls(calls, options.strace);
  const int status = relay.run();
  if (!options.record.empty()) {
    std::string list;
    for (const std::string& call : calls) list += call + "\n";
    write_file(options.record, list);
  }
  return status;
}

}  // namespace aril::tool
