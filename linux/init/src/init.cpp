#include "linux/init/init.hpp"

#include <algorithm>
#include <memory>
#include <new>

#include "base/unique.hpp"
#include "fs/vfs/lookup.hpp"
#include "kernel/log/log.hpp"
#include "linux/entry/dispatch.hpp"
#include "linux/files/file_table.hpp"
#include "linux/loader/exec.hpp"
#include "linux/patch/patcher.hpp"
#include "linux/process/family.hpp"
#include "linux/process/fs_context.hpp"
#include "linux/process/system_identity.hpp"
#include "linux/vdso/vdso.hpp"

namespace aril::linux_abi {
namespace {

constexpr int kInitPid = 1;
constexpr int kNotFoundStatus = 127, kNotExecutableStatus = 126;  // as a shell says it

Result<RefPtr<FileTable>> standard_files(const InitConfig& config) {
  RefPtr<FileTable> files = ARIL_TRY(FileTable::create());
  for (const RefPtr<File>& file :
       {config.standard_input, config.standard_output, config.standard_error}) {
    if (!file) return fail(Errno::kInval);
    ARIL_TRY(files->install(file, CloseOnExec::kNo));
  }
  files->set_limit(int(ResourceLimits{}[Resource::kOpenFiles].current));
  return files;
}

Result<vfs::Path> working_directory(vfs::MountTree& mounts, const std::string& name) {
  vfs::LookupContext context{.mounts = mounts, .identity = {}, .root = mounts.root()};
  return vfs::resolve(context, context.root, name,
                      vfs::LookupFlags::kFollow | vfs::LookupFlags::kDirectory);
}

Result<ExecRequest> make_request(const InitConfig& config) {
  ExecRequest request{.path = config.executable, .arguments = {}, .environment = {}};
  if (config.arguments.empty()) ARIL_TRY(request.arguments.append(config.executable));
  for (const std::string& argument : config.arguments) ARIL_TRY(request.arguments.append(argument));
  for (const std::string& variable : config.environment)
    ARIL_TRY(request.environment.append(variable));
  return request;
}

// On the new task's own thread and address space: turns it into the program.
void execute_first_program(arch::TrapFrame& frame, void* argument) {
  std::unique_ptr<ExecRequest> request(static_cast<ExecRequest*>(argument));
  auto started = execute(std::move(*request), frame);
  request.reset();
  if (started) return;
  write_record("report %s", started.error().text.c_str());
  bool missing = started.error().error == Errno::kNoEnt || started.error().error == Errno::kNotDir;
  current_process().request_exit({.code = missing ? kNotFoundStatus : kNotExecutableStatus});
  Task::exit(0);
}

}  // namespace

void initialize_linux() {
  initialize_system_calls();
  if (update_vdso_clock != nullptr) update_vdso_clock();
}

Result<void> start_init(InitConfig config) {
  set_host_name(config.host_name);
  set_address_randomization(config.randomize_addresses);
  if (set_patching != nullptr) set_patching(config.patch_call_sites);
  RefPtr<FileTable> files = ARIL_TRY(standard_files(config));
  vfs::Path directory = ARIL_TRY(working_directory(*config.mounts, config.working_directory));
  RefPtr<FsContext> fs = ARIL_TRY(
      try_make_ref<FsContext>(*config.mounts, config.mounts->root(), std::move(directory)));
  RefPtr<AddressSpace> space = ARIL_TRY(AddressSpace::create());
  RefPtr<Process> process = ARIL_TRY(Process::create(std::move(space), files, fs));
  ARIL_ASSERT(process->pid() == kInitPid);

  auto request = ARIL_TRY(try_make_unique<ExecRequest>(ARIL_TRY(make_request(config))));
  RefPtr<Task> task = ARIL_TRY(Task::create(process, kInitPid, "init", {}, 0));
  if (!config.groups.empty()) {
    task->credentials.groups = ARIL_TRY(try_make_ref<GroupList>());
    task->credentials.groups->ids = std::move(config.groups);
  }
  task->credentials.change_group_ids(config.gid, config.gid, config.gid);
  task->credentials.change_user_ids(config.uid, config.uid, config.uid);
  process->note_user_ids(task->credentials);
  {
    LockGuard guard(family::lock());
    family::join_locked(*process, nullptr);
  }
  task->set_preparation(&execute_first_program, request.release());
  task->start();
  return {};
}

RefPtr<Process> init_process() { return process_table::find_process(kInitPid); }

}  // namespace aril::linux_abi
