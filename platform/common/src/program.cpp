#include <string>

#include "fs/vfs/inode.hpp"
#include "fs/vfs/operations.hpp"
#include "kernel/log/log.hpp"
#include "kernel/sched/thread.hpp"
#include "linux/abi/time.hpp"
#include "linux/init/init.hpp"
#include "linux/stdio/stdio.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

constexpr const char* kComponent = "program";
constexpr const char* kBootFile = "/.aril/boot";

vfs::LookupContext as_root(vfs::MountTree& mounts) {
  return {.mounts = mounts, .identity = {}, .root = mounts.root()};
}

/// The whole of a file, at most `limit` bytes.
Result<std::string> read_file(vfs::MountTree& mounts, const char* name, size_t limit) {
  vfs::LookupContext context = as_root(mounts);
  RefPtr<File> file = ARIL_TRY(vfs::open(context, context.root, name, OpenFlags::kReadOnly, 0));
  std::string text;
  std::byte block[512];
  for (;;) {
    IoBuffer::Segment segment;
    IoBuffer buffer = IoBuffer::kernel(segment, block);
    size_t count = ARIL_TRY(file->read(buffer));
    if (count == 0) return text;
    if (count > limit - text.size()) return fail(Errno::kFBig);
    text.append(reinterpret_cast<const char*>(block), count);
  }
}

ProgramSpec read_program_spec(const Machine& machine, vfs::MountTree& mounts) {
  constexpr size_t kBootFileLimit = 4 * kMiB;
  ProgramSpec spec;
  if (auto records = read_file(mounts, kBootFile, kBootFileLimit)) {
    apply_boot_file(*records, spec);
  } else if (records.error() == Errno::kNoMem) {
    panic("no memory to read %s: give the machine more (--memory)", kBootFile);
  } else if (records.error() != Errno::kNoEnt) {
    ARIL_LOG_ERROR(kComponent, "%s cannot be read: error %d", kBootFile,
                   static_cast<int>(records.error()));
  }
  apply_command_line(machine.command_line, spec);
  if (spec.path.empty())
    panic("nothing to run: neither %s in the image nor the command line has exec=", kBootFile);
  return spec;
}

linux_abi::StdioFiles make_stdio(const Machine& machine) {
  const KernelOptions& options = machine.options;
  auto files = linux_abi::create_stdio({
      .input = machine.input,
      .output = machine.output,
      .error = machine.error,
      .terminal_input = options.terminal_stdin,
      .terminal_output = options.terminal_stdout,
      .terminal_error = options.terminal_stderr,
      .columns = options.columns,
      .rows = options.rows,
  });
  if (!files) panic("no memory for the standard files: give the machine more (--memory)");
  return *files;
}

void initialize(Boot&) {
  linux_abi::initialize_linux();
  // Files are stamped with the clock that clock_settime sets.
  vfs::set_wall_clock([] { return linux_abi::realtime_ns(now()); });
}
ARIL_BOOT_PART(500, linux, initialize);

void run_program(Boot& boot) {
  const Machine& machine = boot.machine;
  ProgramSpec spec = read_program_spec(machine, boot.mounts);
  linux_abi::StdioFiles stdio = make_stdio(machine);
  linux_abi::set_init_exit_handler(
      [](linux_abi::ExitStatus status) { end_machine(status.as_shell_status()); });
  ARIL_LOG_INFO(kComponent, "starting %s", spec.path.c_str());
  auto started = linux_abi::start_init({
      .mounts = &boot.mounts,
      .executable = std::move(spec.path),
      .arguments = std::move(spec.arguments),
      .environment = std::move(spec.environment),
      .working_directory = std::move(spec.working_directory),
      .host_name = std::move(spec.hostname),
      .uid = spec.uid,
      .gid = spec.gid,
      .groups = std::move(spec.groups),
      .standard_input = std::move(stdio.input),
      .standard_output = std::move(stdio.output),
      .standard_error = std::move(stdio.error),
      .randomize_addresses = machine.options.aslr,
      .patch_call_sites = machine.options.patch_call_sites,
  });
  if (!started) {
    panic("the program cannot be started: %s",
          started.error() == Errno::kNoMem ? "too little memory: give the machine more (--memory)"
                                           : "its working directory (cwd=) is not there");
  }
  Thread::yield();  // what follows is not what anybody waits for
}
ARIL_BOOT_PART(900, program, run_program);

}  // namespace
}  // namespace aril::platform
