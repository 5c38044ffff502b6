#include "command_line/run_process.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <format>

#include "command_line/target.hpp"
#include "image/root_builder.hpp"
#include "machine/disks.hpp"
#include "machine/machine_process.hpp"
#include "machine/passt.hpp"
#include "machine/ports.hpp"
#include "machine/qemu_command.hpp"
#include "relay/relay.hpp"
#include "relay/terminal.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/process.hpp"
#include "symbolizer/symbolizer.hpp"

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
  if (!manifest.volumes.empty()) what = "--volume";
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
                         const std::string& records) {
  std::string line = records;
  auto add = [&](const std::string& word) { line += (line.empty() ? "" : " ") + word; };
  add("root=ram");
  add(network_word(network_of(manifest)));
  for (const std::string& word : disk_words(manifest.disks, false)) add(word);
  add(options.verbose ? "loglevel=7" : "loglevel=4");
  if (options.strace) add("strace");
  if (options.boot_timing) add("boot_timing");
  for (const std::string& word : terminal_words()) add(word);
  return line;
}

/// The tender's words, and the descriptors that it is to inherit.
class TenderCommand {
 public:
  TenderCommand() : words_({installed("bin", "aril-tender")}) {}

  void add(std::string word) { words_.push_back(std::move(word)); }
  void add(std::string option, std::string value) {
    add(std::move(option));
    add(std::move(value));
  }
  /// Under a number that the streams and the control line leave.
  void add(std::string option, Descriptor descriptor) {
    const int number = MachineProcess::kTenderControl + 1 + static_cast<int>(inherited_.size());
    numbers_.emplace_back(descriptor.get(), number);
    inherited_.push_back(std::move(descriptor));
    add(std::move(option), std::to_string(number));
  }

  const std::vector<std::string>& words() const { return words_; }
  /// Descriptors of this process, and the numbers that the tender knows them by.
  const std::vector<std::pair<int, int>>& descriptors() const { return numbers_; }

  /// This process becomes the tender.
  [[noreturn]] void execute() {
    // First out of the way of the numbers that are going to be assigned.
    constexpr int kOutOfTheWay = 100;
    for (auto& [from, to] : numbers_) from = fcntl(from, F_DUPFD_CLOEXEC, kOutOfTheWay);
    for (const auto& [from, to] : numbers_) {
      if (dup2(from, to) < 0) fail_with_errno("dup2", errno);
    }
    std::vector<char*> pointers;
    for (std::string& word : words_) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    execv(pointers.front(), pointers.data());
    fail_with_errno(words_.front(), errno);
  }

 private:
  std::vector<std::string> words_;
  std::vector<Descriptor> inherited_;
  std::vector<std::pair<int, int>> numbers_;
};

/// On a terminal `aril` stays beside the instance, as it does beside QEMU: the terminal is the
/// guest's, and reports get their functions and lines.
int attend(const TenderCommand& command, const RunOptions& options, const Tree& tree) {
  block_forwarded_signals();
  MachineProcess instance = MachineProcess::start_tender(command.words(), command.descriptors());
  Symbolizer symbolizer(installed("lib/aril", "process-kernel.elf"),
                        [&](const std::string& path) { return host_file(tree, path); });
  return Relay(instance, symbolizer,
               options.verbose ? Verbosity::kKernelLog : Verbosity::kProgramOnly, Terminals::kYes,
               MachineWatch::Questions::kNone)
      .run();
}

}  // namespace

int run_as_process(const RunOptions& options, const Manifest& manifest) {
  refuse_what_only_machines_have(options, manifest);
  RootPlan plan = plan_root(manifest);
  std::string records = to_command_line(plan.records);
  if (records.size() > kLongestCommandLine) {
    plan.tree.add_content(kBootRecordsPath, to_file_content(plan.records));
    records.clear();
  }

  TenderCommand command;
  command.add("--kernel", installed("lib/aril", "process-kernel.elf"));
  command.add("--root", cached_root(plan.tree));
  command.add("--memory", std::to_string(manifest.memory.value_or(kDefaultMemory)));
  command.add("--cpus", std::to_string(manifest.cpus.value_or(1)));
  const Network network = network_of(manifest);
  if (network.kind == NetworkKind::kTap) command.add("--tap", network.tap);
  if (!options.dry_run) {
    std::vector<Descriptor> disks = prepare_disks(
        manifest.disks, [](const std::string& line) { std::fputs((line + "\n").c_str(), stderr); });
    for (size_t i = 0; i < disks.size(); ++i) {
      command.add(manifest.disks[i].read_only ? "--read-only-disk" : "--disk", std::move(disks[i]));
    }
    if (network.kind == NetworkKind::kUser) {
      check_ports(manifest.ports);
      command.add("--frame-stream", start_passt(manifest.ports));
    }
  }
  const bool is_attended = !terminal_words().empty();
  if (is_attended) command.add("--control", std::to_string(MachineProcess::kTenderControl));
  command.add("--", kernel_words(options, manifest, records));
  if (options.dry_run) {
    std::puts(shell_quote(command.words()).c_str());
    return 0;
  }
  if (is_attended) return attend(command, options, plan.tree);
  command.execute();
}

}  // namespace aril::tool
