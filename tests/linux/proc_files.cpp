// What /proc tells a program about itself.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>

#include "check.hpp"
#include "unnamed_file.hpp"

namespace {

std::string contents(const std::string& name) {
  std::ifstream file(name);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}
// "Key: value" lines.
std::map<std::string, std::string> fields(const std::string& name) {
  std::map<std::string, std::string> result;
  std::ifstream file(name);
  for (std::string line; std::getline(file, line);) {
    size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    size_t start = line.find_first_not_of(" \t", colon + 1);
    result[line.substr(0, colon)] = start == std::string::npos ? "" : line.substr(start);
  }
  return result;
}
long number(const std::string& text) { return strtol(text.c_str(), nullptr, 10); }

}  // namespace

PROPERTY(status_names_the_process) {
  prctl(PR_SET_NAME, "status-test");
  auto status = fields("/proc/self/status");
  CHECK(status["Name"] == "status-test");
  CHECK_EQ(number(status["Pid"]), getpid());
  CHECK_EQ(number(status["Tgid"]), getpid());
  CHECK_EQ(number(status["PPid"]), getppid());
  CHECK_EQ(number(status["Threads"]), 1);
  CHECK(status["State"] == "R (running)");
}
PROPERTY(status_has_ids_and_masks) {
  auto status = fields("/proc/self/status");
  CHECK(status["Uid"] == "0\t0\t0\t0");
  CHECK(status["Gid"] == "0\t0\t0\t0");
  for (const char* key : {"SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm",
                          "CapEff", "CapBnd", "CapAmb"})
    CHECK_EQ(status[key].size(), 16u);
  CHECK(status["NoNewPrivs"] == "0");
  CHECK(status["Seccomp"] == "0");
  CHECK(!status["Cpus_allowed_list"].empty());
}
PROPERTY(status_counts_memory) {
  auto before = fields("/proc/self/status");
  size_t size = 16 << 20;
  char* memory =
      (char*)mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(memory, 1, size);
  auto after = fields("/proc/self/status");
  CHECK(number(after["VmSize"]) - number(before["VmSize"]) >= 16 * 1024);
  CHECK(number(after["VmRSS"]) - number(before["VmRSS"]) >= 15 * 1024);
  CHECK(number(after["VmHWM"]) >= number(after["VmRSS"]));
  CHECK(number(after["VmPeak"]) >= number(after["VmSize"]));
  munmap(memory, size);
}
PROPERTY(statm_counts_pages) {
  long size = 0, resident = 0, shared = 0;
  std::ifstream("/proc/self/statm") >> size >> resident >> shared;
  CHECK(size > resident && resident > 0);
}
PROPERTY(stat_has_all_fields) {
  std::string text = contents("/proc/self/stat");
  CHECK_EQ(number(text), getpid());
  size_t close = text.rfind(')');
  CHECK(close != std::string::npos);
  std::istringstream rest(text.substr(close + 2));
  int count = 2;
  for (std::string word; rest >> word;) ++count;
  CHECK_EQ(count, 52);
}
PROPERTY(threads_are_listed) {
  bool listed = false;
  std::thread([&] {
    std::string name = "/proc/self/task/" + std::to_string(gettid());
    struct stat status;
    listed = stat(name.c_str(), &status) == 0;
    prctl(PR_SET_NAME, "second");
    listed &= contents(name + "/comm") == "second\n";
  }).join();
  CHECK(listed);
}
PROPERTY(maps_show_what_is_mapped) {
  char* memory = (char*)mmap(nullptr, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char start[32];
  snprintf(start, sizeof start, "%lx-", (long)memory);
  // A neighbour may have been merged with it, so only that it is inside is asked.
  std::ifstream file("/proc/self/maps");
  bool found = false, stack = false, heap = false;
  for (std::string line; std::getline(file, line);) {
    unsigned long from, to;
    if (sscanf(line.c_str(), "%lx-%lx", &from, &to) != 2) continue;
    found |= from <= (unsigned long)memory && (unsigned long)memory < to;
    stack |= line.find("[stack]") != std::string::npos;
    heap |= line.find("[heap]") != std::string::npos;
  }
  CHECK(found && stack && heap);
  munmap(memory, 8192);
}
PROPERTY(smaps_has_its_fields) {
  auto smaps = fields("/proc/self/smaps");
  for (const char* key : {"Size", "KernelPageSize", "Rss", "Pss", "Shared_Clean", "Private_Dirty",
                          "Referenced", "Anonymous", "Swap", "VmFlags"})
    CHECK(smaps.count(key));
  auto rollup = fields("/proc/self/smaps_rollup");
  CHECK(number(rollup["Rss"]) > 0);
}
PROPERTY(limits_are_listed) {
  std::string text = contents("/proc/self/limits");
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  size_t at = text.find("Max open files");
  CHECK(at != std::string::npos);
  CHECK_EQ(number(text.substr(at + 26)), (long)limit.rlim_cur);
  CHECK(text.find("Max stack size") != std::string::npos);
}
PROPERTY(command_line_and_environment) {
  std::string line = contents("/proc/self/cmdline");
  CHECK(line.find("proc_files") != std::string::npos);
  CHECK_EQ(line.back(), '\0');
  CHECK(contents("/proc/self/environ").find("PATH=") != std::string::npos);
  CHECK(contents("/proc/self/auxv").size() % 16 == 0);
}
PROPERTY(links_lead_to_files) {
  char target[256];
  ssize_t count = readlink("/proc/self/exe", target, sizeof target);
  CHECK(count > 0);
  CHECK(std::string(target, count).find("proc_files") != std::string::npos);
  char cwd[256];
  count = readlink("/proc/self/cwd", target, sizeof target);
  CHECK(getcwd(cwd, sizeof cwd) && std::string(target, count) == cwd);
  CHECK_EQ(readlink("/proc/self/root", target, sizeof target), 1);
}
PROPERTY(descriptors_are_links) {
  int fds[2];
  CHECK_EQ(pipe(fds), 0);
  char target[64];
  std::string name = "/proc/self/fd/" + std::to_string(fds[0]);
  ssize_t count = readlink(name.c_str(), target, sizeof target);
  CHECK(std::string(target, count).starts_with("pipe:["));
  int again = open(("/proc/self/fd/" + std::to_string(fds[1])).c_str(), O_WRONLY);
  CHECK(again >= 0);
  CHECK_EQ(write(again, "x", 1), 1);
  char byte;
  CHECK_EQ(read(fds[0], &byte, 1), 1);
  for (int fd : {fds[0], fds[1], again}) close(fd);
  CHECK_ERRNO(readlink(name.c_str(), target, sizeof target), ENOENT);
}
PROPERTY(fdinfo_tells_position_and_flags) {
  int fd = unnamed_file(O_RDWR | O_APPEND | O_CLOEXEC);
  CHECK_EQ(write(fd, "12345", 5), 5);
  auto info = fields("/proc/self/fdinfo/" + std::to_string(fd));
  CHECK_EQ(number(info["pos"]), 5);
  long flags = strtol(info["flags"].c_str(), nullptr, 8);
  CHECK_EQ(flags & (O_APPEND | O_CLOEXEC | O_ACCMODE), O_APPEND | O_CLOEXEC | O_RDWR);
  CHECK(info.count("mnt_id"));
  close(fd);
}
PROPERTY(io_counts) {
  auto io = fields("/proc/self/io");
  for (const char* key : {"rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes"})
    CHECK(io.count(key));
}
PROPERTY(mounts_are_listed) {
  std::string mounts = contents("/proc/self/mounts");
  CHECK(mounts.find(" / ") != std::string::npos);
  CHECK(mounts.find(" /proc proc ") != std::string::npos);
  std::string info = contents("/proc/self/mountinfo");
  CHECK(info.find(" - proc ") != std::string::npos);
}
PROPERTY(memory_information) {
  auto memory = fields("/proc/meminfo");
  CHECK(number(memory["MemTotal"]) > number(memory["MemFree"]));
  CHECK(number(memory["MemAvailable"]) > 0);
  CHECK(number(memory["Cached"]) >= 0);
  for (const char* key : {"Buffers", "SwapTotal", "SwapFree", "Dirty", "Shmem", "Slab"})
    CHECK(memory.count(key));
  struct sysinfo info;
  CHECK_EQ(sysinfo(&info), 0);
  CHECK_EQ((long)(info.totalram * info.mem_unit / 1024), number(memory["MemTotal"]));
  CHECK(info.procs >= 1);
}
PROPERTY(machine_wide_files) {
  double up = 0, idle = -1;
  std::ifstream("/proc/uptime") >> up >> idle;
  CHECK(up > 0 && idle >= 0);
  CHECK(contents("/proc/stat").starts_with("cpu  "));
  CHECK(contents("/proc/loadavg").find('/') != std::string::npos);
  CHECK(contents("/proc/cpuinfo").starts_with("processor"));
  CHECK(contents("/proc/version").starts_with("Linux version "));
  CHECK(contents("/proc/filesystems").find("tmpfs") != std::string::npos);
}
PROPERTY(kernel_parameters) {
  CHECK(number(contents("/proc/sys/kernel/pid_max")) > 1000);
  CHECK(!contents("/proc/sys/kernel/osrelease").empty());
  CHECK(number(contents("/proc/sys/fs/file-max")) > 0);
  CHECK(number(contents("/proc/sys/vm/max_map_count")) > 1000);
  CHECK(contents("/proc/sys/kernel/random/uuid").size() == 37);
  CHECK(!contents("/proc/sys/kernel/random/boot_id").empty());
}
PROPERTY(proc_is_its_own_file_system) {
  struct statfs status;
  CHECK_EQ(statfs("/proc", &status), 0);
  CHECK_EQ(status.f_type, 0x9fa0);
  CHECK_ERRNO(open("/proc/self/nothing", O_RDONLY), ENOENT);
  CHECK_ERRNO(open("/proc/999999", O_RDONLY), ENOENT);
}
PROPERTY(a_file_is_read_in_pieces) {
  int fd = open("/proc/self/status", O_RDONLY);
  char a[10], b[10], whole[20];
  CHECK_EQ(read(fd, a, 10), 10);
  CHECK_EQ(read(fd, b, 10), 10);
  CHECK_EQ(pread(fd, whole, 20, 0), 20);
  CHECK_EQ(memcmp(whole, a, 10), 0);
  CHECK_EQ(memcmp(whole + 10, b, 10), 0);
  close(fd);
}
PROPERTY(fdinfo_tells_positions_of_files_in_proc) {
  // Of files and directories of /proc itself.
  int directory = open("/proc/self", O_RDONLY | O_DIRECTORY);
  int text = open("/proc/self/status", O_RDONLY);
  char some[7];
  CHECK_EQ(read(text, some, sizeof some), 7);
  for (int fd : {directory, text}) {
    std::string information = contents("/proc/self/fdinfo/" + std::to_string(fd));
    CHECK(information.starts_with(fd == text ? "pos:\t7\n" : "pos:\t0\n"));
  }
  close(directory);
  close(text);
}
