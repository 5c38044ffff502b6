#include "fs/procfs/procfs.hpp"

#include <algorithm>

#include "../../vfs/tests/fs_fixture.hpp"
#include "fs/tmpfs/tmpfs.hpp"

namespace aril::vfs {
namespace {

/// A file without a place, as pipes are.
class Pipe final : public File {
 public:
  Pipe() : File(OpenFlags::kWriteOnly) {}
  Result<FileStatus> status() override {
    return FileStatus{.inode = 77, .mode = mode::kFifo | 0600, .uid = 5};
  }
  std::string description() const override { return "pipe:[77]"; }
};

class FakeProcesses final : public procfs::ProcessSource {
 public:
  int current_pid() override { return 7; }
  int current_tid() override { return 8; }
  std::vector<int> pids() override { return {1, 7}; }
  bool exists(int pid) override { return pid == 1 || pid == 7; }
  std::vector<int> tids(int pid) override {
    return pid == 7 ? std::vector{7, 8} : std::vector{pid};
  }
  Identity owner(int pid) override { return {.uid = pid == 7 ? 1000u : 0u}; }
  Result<procfs::ProcessView> view(int pid, int tid) override {
    if (!exists(pid)) return fail(Errno::kSrch);
    procfs::ProcessView view;
    view.pid = tid;
    view.thread_group = pid;
    view.parent = 1;
    view.comm = comm;
    view.thread_count = 2;
    view.affinity = 1;
    view.memory.mapped_pages = 100;
    view.memory.resident_pages = 10;
    view.code_start = 0x401000;
    view.code_end = 0x402000;
    view.user_time = Duration::milliseconds(1230);
    view.groups = {4, 24};
    return view;
  }
  Result<procfs::LimitViews> limits(int) override {
    procfs::LimitViews limits;
    limits[7] = {1024, 4096};
    return limits;
  }
  Result<std::string> command_line(int) override { return std::string("a\0b c\0", 6); }
  Result<std::string> environment(int) override { return std::string("X=1\0", 4); }
  Result<std::string> auxiliary_vector(int) override { return std::string(32, '\1'); }
  Result<RefPtr<AddressSpace>> address_space(int) override { return RefPtr<AddressSpace>(); }
  Result<Path> executable(int) override { return place; }
  Result<Path> working_directory(int) override { return place; }
  Result<Path> root_directory(int) override { return root; }
  Result<std::vector<int>> descriptors(int) override {
    std::vector<int> numbers;
    for (const auto& [fd, file] : files) numbers.push_back(fd);
    return numbers;
  }
  Result<RefPtr<File>> descriptor(int, int fd) override {
    auto found = files.find(fd);
    if (found == files.end()) return fail(Errno::kBadF);
    return found->second;
  }
  bool closes_on_exec(int, int fd) override { return fd == 3; }
  Result<void> set_comm(int, int, std::string_view text) override {
    comm = text;
    return {};
  }
  Result<void> set_oom_score_adjustment(int, int value) override {
    adjustment = value;
    return {};
  }

  Path root, place;
  std::map<int, RefPtr<File>> files;
  std::string comm = "prog";
  int adjustment = 0;
};

class ProcfsTest : public FsTest {
 protected:
  void SetUp() override {
    FsTest::SetUp();
    mount(*tmpfs::Tmpfs::create({.mode = 0755}));
    ASSERT_EQ(make_dir("proc"), 0);
    procfs::SystemSource system;
    system.command_line = "root=ram";
    system.host_name = [this] { return host_name; };
    system.set_host_name = [this](std::string_view name) -> Result<void> {
      host_name = name;
      return {};
    };
    proc = *procfs::Procfs::create(std::move(system), processes, *tree);
    Path at = *resolve(context(), cwd, "proc", LookupFlags::kNone);
    ASSERT_TRUE(tree->mount(at, proc->file_system(), "proc", MountFlags::kNoSuid));
    ASSERT_EQ(write_file("program", "contents"), 0);
    processes.root = root;
    processes.place = *resolve(context(), cwd, "program", LookupFlags::kNone);
    processes.files[3] = *open_at("program", OpenFlags::kReadOnly);
    processes.files[4] = adopt_ref<File>(new Pipe);
  }
  void TearDown() override {
    processes.files.clear();
    processes.root = processes.place = {};
    unmount();
    proc.reset();
  }
  std::string link(std::string_view path) { return read_link(context(), cwd, path).value_or("?"); }

  FakeProcesses processes;
  std::unique_ptr<procfs::Procfs> proc;
  std::string host_name = "seed";
};

TEST_F(ProcfsTest, ListsProcessesAndFixedFiles) {
  auto names = list("/proc").names;
  for (const char* name : {"1", "7", "self", "thread-self", "meminfo", "sys", "mounts", "net"})
    EXPECT_EQ(names.count(name), 1u) << name;
  EXPECT_EQ(error_of(stat("/proc/2")), ENOENT);
  EXPECT_EQ(error_of(stat("/proc/07")), ENOENT);
  EXPECT_EQ(error_of(stat("/proc/99999999999")), ENOENT);
  EXPECT_EQ(make_dir("/proc/new"), EPERM);
  EXPECT_EQ(link("/proc/self"), "7");
  EXPECT_EQ(link("/proc/thread-self"), "7/task/8");
}

TEST_F(ProcfsTest, EveryFileOfAProcessReads) {
  auto names = list("/proc/self").names;
  EXPECT_GT(names.size(), 30u);
  for (const auto& [name, type] : names) {
    if (type != mode::directory_type(mode::kRegular)) continue;
    auto file = open_at("/proc/self/" + name, OpenFlags::kReadOnly);
    ASSERT_TRUE(file) << name;
    read_from(**file);
  }
  EXPECT_EQ(list("/proc/self/task").names.count("8"), 1u);
  EXPECT_TRUE(stat("/proc/self/task/8/stat"));
  EXPECT_EQ(error_of(stat("/proc/self/task/8/task")), ENOENT);
  EXPECT_EQ(stat("/proc/self/stat")->uid, 1000u);
  EXPECT_EQ(stat("/proc/1/stat")->uid, 0u);
}

TEST_F(ProcfsTest, ParametersOfOtherLayersStay) {
  proc->add_file("sys/net/ipv4/tcp_fastopen", [](std::string& out) -> Result<void> {
    out = "7\n";
    return {};
  });
  EXPECT_EQ(read_file("/proc/sys/net/ipv4/tcp_fastopen"), "7\n");
  EXPECT_EQ(read_file("/proc/sys/net/ipv4/tcp_sack"), "1\n");
  EXPECT_EQ(list("/proc/sys/net/ipv4").names.count("tcp_fastopen"), 1u);
}

TEST_F(ProcfsTest, StatHasItsFiftyTwoFields) {
  std::string text = read_file("/proc/7/stat");
  EXPECT_TRUE(text.starts_with("7 (prog) R 1 ")) << text;
  EXPECT_EQ(std::ranges::count(text, ' '), 51) << text;
  EXPECT_NE(text.find(" 123 0 0 0 20 0 2 "), std::string::npos) << text;
  EXPECT_EQ(read_file("/proc/7/statm"), "100 10 0 1 0 0 0\n");
}

TEST_F(ProcfsTest, StatusNamesWhatProgramsLookFor) {
  std::string text = read_file("/proc/self/status");
  for (const char* part : {"Name:\tprog\n", "State:\tR (running)\n", "Pid:\t7\n",
                           "VmRSS:\t      40 kB\n", "Threads:\t2\n", "Groups:\t4 24 \n",
                           "Cpus_allowed_list:\t0\n", "CapEff:\t0000000000000000\n"})
    EXPECT_NE(text.find(part), std::string::npos) << part << text;
}

TEST_F(ProcfsTest, BinaryFilesKeepTheirBytes) {
  EXPECT_EQ(read_file("/proc/self/cmdline"), std::string("a\0b c\0", 6));
  EXPECT_EQ(read_file("/proc/self/auxv").size(), 32u);
  EXPECT_NE(read_file("/proc/self/limits")
                .find("Max open files            1024                 4096                 files"),
            std::string::npos);
}

TEST_F(ProcfsTest, DescriptorsAreMagicLinks) {
  EXPECT_EQ(link("/proc/self/fd/3"), "/program");
  EXPECT_EQ(link("/proc/self/fd/4"), "pipe:[77]");
  EXPECT_EQ(link("/proc/self/exe"), "/program");
  EXPECT_EQ(read_file("/proc/self/fd/3"), "contents");
  ASSERT_EQ(error_of(remove_file(context(), cwd, "program")), 0);
  EXPECT_EQ(link("/proc/self/fd/3"), "/program (deleted)");
  EXPECT_EQ(read_file("/proc/self/fd/3"), "contents") << "the file itself, whatever the text";
  auto pipe = open_at("/proc/self/fd/4", OpenFlags::kWriteOnly);
  ASSERT_TRUE(pipe);
  EXPECT_EQ(*pipe, processes.files[4]);
  EXPECT_EQ(error_of(open_at("/proc/self/fd/4", OpenFlags::kReadOnly)), EACCES);
  EXPECT_EQ(stat("/proc/self/fd/4")->inode, 77u);
  EXPECT_EQ(error_of(open_at("/proc/self/fd/4", OpenFlags::kReadOnly | OpenFlags::kNoFollow)),
            ELOOP);
  EXPECT_EQ(error_of(stat("/proc/self/fd/5")), ENOENT);
  auto names = list("/proc/self/fd").names;
  EXPECT_EQ(names.size(), 4u);
  EXPECT_TRUE(read_file("/proc/self/fdinfo/3").starts_with("pos:\t0\nflags:\t02000000\n"));
  auto confined =
      resolve(context(), root, "proc/self/fd/3", LookupFlags::kFollow | LookupFlags::kNoMagicLinks);
  EXPECT_EQ(error_of(confined), ELOOP);
}

TEST_F(ProcfsTest, WritesReachTheirOwners) {
  EXPECT_EQ(write_file("/proc/self/comm", "renamed\n"), 0);
  EXPECT_EQ(processes.comm, "renamed");
  EXPECT_EQ(write_file("/proc/self/oom_score_adj", "-500"), 0);
  EXPECT_EQ(processes.adjustment, -500);
  EXPECT_EQ(write_file("/proc/self/oom_score_adj", "-5000"), -1);
  EXPECT_EQ(write_file("/proc/sys/kernel/hostname", "other\n"), 0);
  EXPECT_EQ(read_file("/proc/sys/kernel/hostname"), "other\n");
  EXPECT_EQ(write_file("/proc/sys/vm/overcommit_memory", "1"), 0);
  EXPECT_EQ(read_file("/proc/sys/vm/overcommit_memory"), "1\n");
  EXPECT_EQ(read_file("/proc/sys/net/core/somaxconn"), "4096\n");
}

TEST_F(ProcfsTest, ShowsMounts) {
  EXPECT_EQ(read_file("/proc/mounts"), "test / tmpfs rw 0 0\nproc /proc proc rw,nosuid 0 0\n");
  EXPECT_NE(read_file("/proc/self/mountinfo").find(" / /proc rw,nosuid - proc proc rw\n"),
            std::string::npos);
}

TEST_F(ProcfsTest, SystemFilesHaveTheirForm) {
  EXPECT_TRUE(read_file("/proc/meminfo").starts_with("MemTotal:       "));
  EXPECT_NE(read_file("/proc/cpuinfo").find("flags\t\t: fpu"), std::string::npos);
  EXPECT_TRUE(read_file("/proc/stat").starts_with("cpu  "));
  EXPECT_EQ(read_file("/proc/cmdline"), "root=ram\n");
  std::string id = read_file("/proc/sys/kernel/random/boot_id");
  EXPECT_EQ(id.size(), 37u);
  EXPECT_EQ(id[14], '4');
  EXPECT_EQ(read_file("/proc/sys/kernel/random/boot_id"), id);
  EXPECT_NE(read_file("/proc/sys/kernel/random/uuid"), read_file("/proc/sys/kernel/random/uuid"));
}

TEST_F(ProcfsTest, OneReadingIsOfOneMoment) {
  auto file = *open_at("/proc/sys/kernel/hostname", OpenFlags::kReadOnly);
  EXPECT_EQ(read_from(*file, 2), "se");
  host_name = "changed";
  EXPECT_EQ(read_from(*file), "ed\n");
  EXPECT_EQ(*file->seek(0, SeekOrigin::kSet), 0u);
  EXPECT_EQ(read_from(*file), "changed\n");
}

TEST_F(ProcfsTest, OtherLayersAddFiles) {
  proc->add_file("net/tcp", [](std::string& out) -> Result<void> {
    out += "sockets";
    return {};
  });
  EXPECT_EQ(read_file("/proc/net/tcp"), "sockets");
  EXPECT_EQ(read_file("/proc/1/net/tcp"), "sockets");
}

}  // namespace
}  // namespace aril::vfs
