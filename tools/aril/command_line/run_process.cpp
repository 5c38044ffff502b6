#include "command_line/run_process.hpp"

#include <unistd.h>

#include <cstdio>
#include <format>

#include "command_line/target.hpp"
#include "image/root_builder.hpp"
#include "machine/disks.hpp"
#include "machine/passt.hpp"
#include "machine/ports.hpp"
#include "machine/qemu_command.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/process.hpp"

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
  return line;
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
  // The root is the same as a virtual machine's, as a file of its own.
  const ImageFiles image =
      cached_image({.elf = find_kernel(options.content.kernel), .unpacker = {}}, plan.tree,
                   RootPlacement::kDisk);

  std::vector<std::string> command = {
      installed("bin", "aril-tender"),
      "--kernel",
      installed("lib/aril", "process-kernel.elf"),
      "--root",
      image.root.value(),
      "--memory",
      std::to_string(manifest.memory.value_or(kDefaultMemory)),
      "--cpus",
      std::to_string(manifest.cpus.value_or(1)),
  };
  const Network network = network_of(manifest);
  if (network.kind == NetworkKind::kTap) {
    command.insert(command.end(), {"--tap", network.tap});
  }
  std::vector<Descriptor> locks;
  if (!options.dry_run) {
    locks = prepare_disks(
        manifest.disks, [](const std::string& line) { std::fputs((line + "\n").c_str(), stderr); });
  }
  for (const Disk& disk : manifest.disks) {
    command.insert(command.end(), {disk.read_only ? "--read-only-disk" : "--disk", disk.host});
  }
  Descriptor frames;
  if (network.kind == NetworkKind::kUser && !options.dry_run) {
    check_ports(manifest.ports);
    frames = start_passt(manifest.ports);
    command.insert(command.end(), {"--frame-stream", std::to_string(frames.get())});
  }
  command.insert(command.end(), {"--", kernel_words(options, manifest, records)});
  if (options.dry_run) {
    std::puts(shell_quote(command).c_str());
    return 0;
  }
  std::vector<char*> words;
  for (std::string& word : command) words.push_back(word.data());
  words.push_back(nullptr);
  execv(words.front(), words.data());
  fail_with_errno(command.front(), errno);
}

}  // namespace aril::tool
