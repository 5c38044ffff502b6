#include "linux/loader/exec.hpp"

#include <algorithm>
#include <array>
#include <new>

#include "arch/context.hpp"
#include "arch/page_table.hpp"
#include "arch/syscall_entry.hpp"
#include "base/image_use.hpp"
#include "base/units.hpp"
#include "fs/vfs/mount.hpp"
#include "fs/vfs/open_file.hpp"
#include "fs/vfs/operations.hpp"
#include "initial_stack.hpp"
#include "kernel/log/log.hpp"
#include "kernel/random/random.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/family.hpp"
#include "linux/process/fs_context.hpp"
#include "linux/process/process.hpp"
#include "linux/vdso/vdso.hpp"
#include "program_loader.hpp"

namespace aril::linux_abi {
namespace {

constinit std::atomic<bool> randomize_addresses{true};

// Where Linux puts a position-independent program, plus up to 2^28 pages.
constexpr uint64_t kProgramBase = 0x5555'5555'4000;
constexpr uint64_t kProgramRandomPages = 1u << 28;
constexpr uint64_t kStackRandomPages = 1u << 18;
constexpr uint64_t kHeapRandomPages = 1u << 13;
/// Mapped below the initial stack pointer from the start; faults extend it from there.
constexpr uint64_t kInitialStackRoom = 128 * kKiB;
constexpr unsigned kMaximumScripts = 4;
constexpr size_t kScriptLineLimit = 256;  // BINPRM_BUF_SIZE

std::unexpected<ExecFailure> failure(Errno error, std::string_view name, std::string_view why) {
  std::string text(name);
  text += ": ";
  text += why;
  return std::unexpected(ExecFailure{error, std::move(text)});
}

Errno errno_of(ElfError error) {
  switch (error) {
    case ElfError::kReadFailed:
      return Errno::kIo;
    case ElfError::kNoMemory:
      return Errno::kNoMem;
    default:
      return Errno::kNoExec;
  }
}

std::string_view describe(Errno error) {
  switch (error) {
    case Errno::kNoEnt:
      return "not found";
    case Errno::kAcces:
      return "not executable: permission denied";
    case Errno::kNotDir:
      return "not found: a part of the path is not a directory";
    case Errno::kLoop:
      return "too many symbolic links";
    case Errno::kNameTooLong:
      return "the name is too long";
    case Errno::kNoMem:
      return text(ElfError::kNoMemory);
    default:
      return "cannot be opened";
  }
}

uint64_t random_pages(uint64_t limit) {
  bool wanted = randomize_addresses && (current_process().personality & 0x0040000) == 0;
  return wanted ? random::below(limit) * kPageSize : 0;
}

/// The file to execute and its absolute name.
struct Executable {
  RefPtr<File> file;
  std::string path;
  vfs::Path place;  ///< null when it has no name (a memfd)
  FileStatus status;
};

std::expected<void, ExecFailure> check_type(const FileStatus& status, const std::string& name) {
  uint32_t type = status.mode & vfs::mode::kTypeMask;
  if (type == vfs::mode::kDirectory) return failure(Errno::kAcces, name, "is a directory");
  if (type != vfs::mode::kRegular) return failure(Errno::kAcces, name, "not a regular file");
  return {};
}

std::expected<Executable, ExecFailure> open_place(const vfs::LookupContext& context, vfs::Path path,
                                                  const std::string& name) {
  auto status = vfs::status(path);
  if (!status) return failure(status.error(), name, describe(status.error()));
  if (auto type = check_type(*status, name); !type) return std::unexpected(type.error());
  if (has(path.mount().flags(), vfs::MountFlags::kNoExec))
    return failure(Errno::kAcces, name, "on a file system that is mounted noexec");
  if (auto allowed = vfs::access(context, path, vfs::Access::kExecute); !allowed)
    return failure(allowed.error(), name, describe(allowed.error()));
  // A program may be executable without being readable.
  vfs::LookupContext reading = context;
  reading.identity.has_override = true;
  auto file = vfs::open_path(reading, path, OpenFlags::kReadOnly);
  if (!file) return failure(file.error(), name, describe(file.error()));
  std::string text = vfs::absolute_path(context.mounts, path, context.root);
  return Executable{std::move(*file), std::move(text), std::move(path), *status};
}

std::expected<Executable, ExecFailure> open_executable(const std::string& name,
                                                       const vfs::Path& start,
                                                       vfs::LookupFlags flags) {
  vfs::LookupContext context = caller_lookup_context();
  auto path = vfs::resolve(context, start ? start : current_process().fs().cwd(), name, flags);
  if (!path) return failure(path.error(), name, describe(path.error()));
  return open_place(context, std::move(*path), name);
}

std::expected<Executable, ExecFailure> open_requested(const ExecRequest& request) {
  if (!request.file)
    return open_executable(request.path, request.start,
                           request.no_follow ? vfs::LookupFlags::kNone : vfs::LookupFlags::kFollow);
  if (const vfs::Path* path = vfs::path_of(*request.file))
    return open_place(caller_lookup_context(), *path, request.path);
  auto status = request.file->status();
  if (!status) return failure(status.error(), request.path, describe(status.error()));
  if (auto type = check_type(*status, request.path); !type) return std::unexpected(type.error());
  constexpr uint32_t kAnyExecute = 0111;
  if ((status->mode & kAnyExecute) == 0)
    return failure(Errno::kAcces, request.path, describe(Errno::kAcces));
  return Executable{request.file, request.path, {}, *status};
}

/// "#!interpreter [argument]" at the start of a script; empty when it is not one.
struct ScriptLine {
  std::string interpreter, argument;
};
ScriptLine read_script_line(File& file) {
  std::array<char, kScriptLineLimit> line{};
  IoBuffer::Segment segment;
  IoBuffer buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(line)));
  Result<size_t> count = file.read_at(buffer, 0);
  ScriptLine script;
  if (!count || *count < 3 || line[0] != '#' || line[1] != '!') return script;
  std::string_view rest(&line[2], *count - 2);
  rest = rest.substr(0, rest.find_first_of(std::string_view("\n\0", 2)));
  constexpr std::string_view kBlank = " \t\r";
  auto trim = [&](std::string_view text) {
    size_t first = text.find_first_not_of(kBlank);
    if (first == text.npos) return std::string_view{};
    return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
  };
  rest = trim(rest);
  size_t end = std::min(rest.find_first_of(kBlank), rest.size());
  script.interpreter = rest.substr(0, end);
  script.argument = trim(rest.substr(end));
  return script;
}

/// Everything that execve needs, opened and checked before the old program is given up.
struct Prepared {
  Program program;
  std::optional<Program> interpreter;
  std::string path;
  vfs::Path place;
  FileStatus status;
  vfs::Execution execution;
};

// Follows `#!` lines; the arguments become those of the script's interpreter [execve(2)].
std::expected<Executable, ExecFailure> open_through_scripts(ExecRequest& request) {
  std::string name = request.path;
  for (unsigned depth = 0;; ++depth) {
    auto executable =
        depth == 0 ? open_requested(request) : open_executable(name, {}, vfs::LookupFlags::kFollow);
    if (!executable) {
      if (depth != 0)
        executable.error().text = request.path + ": its interpreter " + executable.error().text;
      return executable;
    }
    ScriptLine script = read_script_line(*executable->file);
    if (script.interpreter.empty()) return executable;
    if (depth == kMaximumScripts)
      return failure(Errno::kLoop, request.path, "too many nested scripts");
    request.arguments.drop_first();
    Result<void> added = request.arguments.prepend(name);
    if (added && !script.argument.empty()) added = request.arguments.prepend(script.argument);
    if (added) added = request.arguments.prepend(script.interpreter);
    if (!added) return failure(added.error(), request.path, "too many arguments");
    name = script.interpreter;
  }
}

std::expected<Prepared, ExecFailure> prepare(ExecRequest& request) {
  auto executable = open_through_scripts(request);
  if (!executable) return std::unexpected(std::move(executable.error()));
  // A file without a name, of memfd_create, is nobody's to protect.
  Result<vfs::Execution> execution;
  if (executable->place) execution = vfs::Execution::begin(executable->place.inode());
  if (!execution) return failure(execution.error(), executable->path, "is open for writing");
  auto program = open_program(std::move(executable->file));
  if (!program) return failure(errno_of(program.error()), executable->path, text(program.error()));
  Prepared prepared{std::move(*program),          std::nullopt,       std::move(executable->path),
                    std::move(executable->place), executable->status, std::move(*execution)};
  const std::string& interpreter_name = prepared.program.image.interpreter;
  if (interpreter_name.empty()) return prepared;
  auto file = open_executable(interpreter_name, {}, vfs::LookupFlags::kFollow);
  if (!file) {
    std::string why("needs the program interpreter ");
    why += file.error().text;
    return failure(file.error().error, prepared.path, why);
  }
  auto interpreter = open_program(std::move(file->file));
  if (!interpreter) {
    std::string why("its program interpreter ");
    why.append(interpreter_name).append(": ").append(text(interpreter.error()));
    return failure(errno_of(interpreter.error()), prepared.path, why);
  }
  prepared.interpreter = std::move(*interpreter);
  return prepared;
}

Result<uint64_t> map_stack(AddressSpace& space, const ExecRequest& request, const ProgramInfo& info,
                           bool executable) {
  uint64_t top = arch::kApplicationTop - random_pages(kStackRandomPages);
  MapRequest stack;
  stack.length = align_up(initial_stack_size(request, info) + kInitialStackRoom, kPageSize);
  stack.address = top - stack.length;
  stack.protection = Protection::kRead | Protection::kWrite;
  if (executable) stack.protection |= Protection::kExecute;
  stack.placement = MapRequest::Placement::kFixed;
  stack.grows_down = true;
  stack.label = "[stack]";
  ARIL_TRY(space.map(stack));
  return top;
}

/// Where the new program begins.
struct Start {
  uint64_t entry = 0;
  InitialStack stack;
  ProgramRecord::Layout layout;
};

ProgramRecord::Layout layout_of(const ElfImage& image, uint64_t bias) {
  ProgramRecord::Layout layout;
  for (const ElfSegment& segment : image.segments) {
    bool is_code = has(segment.protection, Protection::kExecute);
    uint64_t start = bias + segment.address, end = start + segment.file_size;
    (is_code ? layout.code_start : layout.data_start) = start;
    (is_code ? layout.code_end : layout.data_end) = end;
  }
  return layout;
}

Result<Start> load(AddressSpace& space, const ExecRequest& request, const Prepared& prepared,
                   const Credentials& credentials) {
  const ElfImage& image = prepared.program.image;
  uint64_t preferred = kProgramBase + random_pages(kProgramRandomPages);
  uint64_t bias = ARIL_TRY(map_program(space, prepared.program, preferred));
  Start start;
  start.layout = layout_of(image, bias);
  start.layout.break_start = bias + image.highest() + random_pages(kHeapRandomPages);
  space.set_heap_start(start.layout.break_start);
  ProgramInfo info{.entry = bias + image.entry,
                   .program_headers = image.program_headers != 0 ? bias + image.program_headers : 0,
                   .program_header_count = image.program_header_count,
                   .interpreter_base = 0,
                   .vdso = 0,
                   .path = request.path};
  start.entry = info.entry;
  if (prepared.interpreter) {
    info.interpreter_base = ARIL_TRY(map_program(space, *prepared.interpreter, 0));
    start.entry = info.interpreter_base + prepared.interpreter->image.entry;
  }
  if (map_vdso != nullptr) info.vdso = ARIL_TRY(map_vdso(space));
  uint64_t top = ARIL_TRY(map_stack(space, request, info, image.executable_stack));
  if (start.entry >= arch::kApplicationTop) return fail(Errno::kNoExec);
  start.stack = ARIL_TRY(write_initial_stack(top, request, info, credentials));
  start.layout.stack_start = start.stack.stack_pointer;
  start.layout.arguments_start = start.stack.arguments_start;
  start.layout.arguments_end = start.stack.arguments_end;
  start.layout.environment_start = start.stack.environment_start;
  start.layout.environment_end = start.stack.environment_end;
  return start;
}

// Set-user-ID and set-group-ID programs run as their file's owner [execve(2)].
void take_file_identity(Task& task, const Prepared& prepared) {
  constexpr uint32_t kSetUser = 04000, kSetGroup = 02000, kGroupExecute = 010;
  Credentials& credentials = task.credentials;
  Process& process = task.process();
  bool is_honoured = prepared.place && !credentials.no_new_privileges &&
                     !has(prepared.place.mount().flags(), vfs::MountFlags::kNoSuid);
  uint32_t mode = is_honoured ? prepared.status.mode : 0;
  if ((mode & kSetUser) != 0) credentials.euid = prepared.status.uid;
  if ((mode & kSetGroup) != 0 && (mode & kGroupExecute) != 0)
    credentials.egid = prepared.status.gid;
  if ((mode & (kSetUser | kSetGroup)) != 0) process.parent_death_signal = 0;
  credentials.recompute_at_exec();
  process.note_user_ids(credentials);
}

// What does not survive execve of the process and the task [execve(2)].
void forget_old_program(Task& task) {
  Process& process = task.process();
  {
    LockGuard guard(family::lock());
    process.family.exit_signal = kSigChld;
    process.handler_group = 0;
  }
  {
    LockGuard guard(process.signal_lock());
    for (int number = 1; number <= kSignalCount; ++number) {
      SignalAction& action = process.action_locked(number);
      uint64_t kept = action.handler == kSignalIgnore ? kSignalIgnore : kSignalDefault;
      action = SignalAction{.handler = kept};
    }
  }
  if (process.timers) process.timers->forget_posix_timers();
  process.files().close_all_on_exec();
  task.alternate_stack = {};
  task.clear_child_tid = 0;
  task.robust_list = task.robust_list_size = 0;
  task.sequence = {};
}

void become_program(Task& task, const ExecRequest& request, const Prepared& prepared) {
  // The first program has nothing to take the place of.
  if (ARIL_HAS_USE(execve)) forget_old_program(task);
  task.process().has_executed = true;
  take_file_identity(task, prepared);
  // The name that was asked for, not what links or a script lead to.
  std::string_view path = request.path;
  task.thread().set_name(path.substr(path.rfind('/') + 1));
}

// For /proc.
void publish_program(Process& process, RefPtr<ProgramRecord> record) {
  RefPtr<const ProgramRecord> program = std::move(record);
  LockGuard guard(process.mutex());
  std::swap(process.program, program);
}

void start_at(Task& task, arch::TrapFrame& frame, const Start& start) {
  frame = arch::TrapFrame{};
  frame.rip = start.entry;
  frame.rsp = start.stack.stack_pointer;
  frame.rflags = arch::kApplicationFlagsAlways;
  frame.cs = arch::kApplicationCs;
  frame.ss = arch::kApplicationSs;
  arch::set_thread_pointer(0);
  arch::fpu_initialize(task.thread().fpu_area());
  task.thread().reload_fpu();
}

}  // namespace

void set_address_randomization(bool enabled) { randomize_addresses = enabled; }

std::expected<void, ExecFailure> execute(ExecRequest request, arch::TrapFrame& frame) {
  Task& task = current_task();
  Process& process = task.process();
  if (request.arguments.count() == 0) {
    // Programs rely on argv[0]; Linux 5.18 and later give an empty one.
    if (auto added = request.arguments.append(""); !added)
      return failure(added.error(), request.path, describe(added.error()));
  }
  auto prepared = prepare(request);
  if (!prepared) return std::unexpected(std::move(prepared.error()));
  auto record = try_make_ref<ProgramRecord>();
  if (!record) return failure(record.error(), prepared->path, describe(record.error()));
  auto space = AddressSpace::create();
  if (!space) return failure(space.error(), prepared->path, describe(space.error()));
  (*space)->set_randomized(randomize_addresses && (process.personality & 0x0040000) == 0);
  if (ARIL_HAS_USE(execve)) {
    if (auto alone = process.end_other_tasks(); !alone)
      return failure(alone.error(), prepared->path, "the process is ending");
    if (auto unshared = process.unshare_files(); !unshared)
      return failure(unshared.error(), prepared->path, describe(unshared.error()));
  }

  process.replace_address_space(std::move(*space));
  become_program(task, request, *prepared);
  Result<Start> start = load(process.address_space(), request, *prepared, task.credentials);
  if (!start) {
    // The old program is gone: there is nobody to return an error to.
    std::string_view why = describe(start.error());
    write_record("report %s: cannot be loaded: %.*s", prepared->path.c_str(), int(why.size()),
                 why.data());
    process.request_exit({.signal = kSigKill});
    Task::exit(0);
  }
  (*record)->executable = std::move(prepared->place);
  (*record)->execution = std::move(prepared->execution);
  (*record)->command_line = request.arguments.bytes();
  (*record)->environment = request.environment.bytes();
  (*record)->auxiliary_vector = std::move(start->stack.auxiliary_vector);
  (*record)->layout = start->layout;
  publish_program(process, std::move(*record));
  start_at(task, frame, *start);
  return {};
}

}  // namespace aril::linux_abi
