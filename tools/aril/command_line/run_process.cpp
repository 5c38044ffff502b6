#include "command_line/run_process.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <format>

#include "base/process_abi.hpp"
#include "command_line/target.hpp"
#include "image/root_builder.hpp"
#include "machine/disks.hpp"
#include "machine/machine_process.hpp"
#include "machine/passt.hpp"
#include "machine/ports.hpp"
#include "machine/qemu_command.hpp"
#include "machine/volumes.hpp"
#include "relay/relay.hpp"
#include "relay/terminal.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/process.hpp"
#include "symbolizer/symbolizer.hpp"
#include "tender/clock.hpp"
#include "tender/options.hpp"
#include "tender/tender.hpp"
#include "volume/volume_process.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

/// Records longer than this travel in the root in place of the kernel's command line.
constexpr size_t kLongestCommandLine = 8192;
constexpr unsigned kMaximumProcessCpus = 32;

fs::path installed(const char* folder, const char* name) {
  fs::path path = executable_directory().parent_path() / folder / name;
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) {
    throw Error(std::format("{}: is missing", path.string()), "build it with ./dev build");
  }
  return path;
}

void refuse_what_only_machines_have(const RunOptions& options, const Manifest& manifest) {
  const char* what = nullptr;
  if (options.gdb) what = "--gdb";
  if (!options.machine.empty()) what = "--machine";
  if (!options.capture.empty()) what = "--pcap";
  if (!manifest.more_networks.empty()) what = "a second --net";
  if (what != nullptr) {
    throw Error(std::format("{} is for virtual machines, not for --platform process", what));
  }
  if (manifest.cpus.value_or(1) > kMaximumProcessCpus) {
    throw Error(std::format("--cpus: a process has {} at most", kMaximumProcessCpus));
  }
}

/// A program that nothing is led to starts without a network, which costs a process more.
Network network_of(const Manifest& manifest) {
  if (manifest.network) return *manifest.network;
  return {.kind = manifest.ports.empty() ? NetworkKind::kNone : NetworkKind::kUser};
}

std::string kernel_words(const RunOptions& options, const Manifest& manifest,
                         const std::vector<SharedDirectory>& volumes, const std::string& records) {
  std::string line = records;
  auto add = [&](const std::string& word) { line += (line.empty() ? "" : " ") + word; };
  add("root=ram");
  add(network_word(network_of(manifest)));
  for (const std::string& word : disk_words(manifest.disks, false)) add(word);
  for (const SharedDirectory& shared : volumes) add(volume_word(shared));
  add(options.verbose ? "loglevel=7" : "loglevel=4");
  if (options.strace) add("strace");
  if (options.boot_timing) add("boot_timing");
  for (const std::string& word : terminal_words()) add(word);
  return line;
}

/// What the tender is to open, and descriptors that it is to have.
struct Instance {
  tender::Options options;
  std::vector<Descriptor> held;

  int hold(Descriptor descriptor) {
    held.push_back(std::move(descriptor));
    return held.back().get();
  }
};

/// The tender as a program of its own: its words, and the descriptors that it inherits, each under
/// a number that the streams and the control line leave.
class TenderCommand {
 public:
  explicit TenderCommand(const tender::Options& options)
      : words_({installed("bin", "aril-tender")}) {
    add("--kernel", options.kernel);
    add("--root", options.root);
    add("--memory", std::to_string(options.memory));
    add("--cpus", std::to_string(options.cpus));
    if (!options.tap.empty()) add("--tap", options.tap);
    if (options.frame_stream >= 0) add("--frame-stream", inherited(options.frame_stream));
    for (const tender::DiskFile& disk : options.disks)
      add(disk.read_only ? "--read-only-disk" : "--disk", inherited(disk.descriptor));
    for (int volume : options.volumes) add("--volume", inherited(volume));
    if (options.control >= 0) add("--control", std::to_string(options.control));
    add("--", options.command_line);
  }

  const std::vector<std::string>& words() const { return words_; }
  /// Descriptors of this process, and the numbers that the tender knows them by.
  const std::vector<std::pair<int, int>>& descriptors() const { return numbers_; }

 private:
  void add(const char* option, std::string value) {
    words_.emplace_back(option);
    words_.push_back(std::move(value));
  }
  std::string inherited(int descriptor) {
    const int number = MachineProcess::kTenderControl + 1 + static_cast<int>(numbers_.size());
    numbers_.emplace_back(descriptor, number);
    return std::to_string(number);
  }

  std::vector<std::string> words_;
  std::vector<std::pair<int, int>> numbers_;
};

std::string kernel_of(const RunOptions& options) {
  if (!options.content.kernel.empty()) return options.content.kernel;
  return installed("lib/aril", "process-kernel.elf");
}

/// On a terminal `aril` stays beside the instance, as it does beside QEMU: the terminal is the
/// guest's, and reports get their functions and lines.
int attend(const TenderCommand& command, const RunOptions& options, const Tree& tree) {
  block_forwarded_signals();
  MachineProcess instance = MachineProcess::start_tender(command.words(), command.descriptors());
  Symbolizer symbolizer(kernel_of(options),
                        [&](const std::string& path) { return host_file(tree, path); });
  return Relay(instance, symbolizer,
               options.verbose ? Verbosity::kKernelLog : Verbosity::kProgramOnly, Terminals::kYes,
               MachineWatch::Questions::kNone)
      .run();
}

}  // namespace

int run_as_process(const RunOptions& options, const Manifest& manifest) {
  const tender::ClockMeter clock;
  refuse_what_only_machines_have(options, manifest);
  RootPlan plan = plan_root(manifest);
  std::string records = to_command_line(plan.records);
  if (records.size() > kLongestCommandLine) {
    plan.tree.add_content(kBootRecordsPath, to_file_content(plan.records));
    records.clear();
  }

  Instance instance;
  tender::Options& wanted = instance.options;
  wanted.kernel = kernel_of(options);
  wanted.root = cached_root(plan.tree);
  wanted.memory = manifest.memory.value_or(kDefaultMemory);
  wanted.cpus = manifest.cpus.value_or(1);
  const std::vector<SharedDirectory> volumes = share_volumes(manifest.volumes);
  if (volumes.size() > kProcessMaxVolumes) {
    throw Error(std::format("--volume: a process has {} at most", kProcessMaxVolumes));
  }
  wanted.command_line = kernel_words(options, manifest, volumes, records);
  const Network network = network_of(manifest);
  if (network.kind == NetworkKind::kTap) wanted.tap = network.tap;
  if (!options.dry_run) {
    std::vector<Descriptor> disks = prepare_disks(
        manifest.disks, [](const std::string& line) { std::fputs((line + "\n").c_str(), stderr); });
    for (size_t i = 0; i < disks.size(); ++i)
      wanted.disks.push_back({instance.hold(std::move(disks[i])), manifest.disks[i].read_only});
    for (const SharedDirectory& shared : volumes)
      wanted.volumes.push_back(instance.hold(start_volume_server(shared)));
    if (network.kind == NetworkKind::kUser) {
      check_ports(manifest.ports);
      wanted.frame_stream = instance.hold(start_passt(manifest.ports));
    }
  }
  const bool is_attended = !terminal_words().empty();
  if (is_attended) wanted.control = MachineProcess::kTenderControl;
  if (options.dry_run) {
    std::puts(shell_quote(TenderCommand(wanted).words()).c_str());
    return 0;
  }
  if (is_attended) return attend(TenderCommand(wanted), options, plan.tree);
  // Without an exec, which costs a tenth of what starting an instance takes.
  tender::become_instance(wanted, clock);
}

}  // namespace aril::tool
