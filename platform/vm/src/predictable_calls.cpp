#include "predictable_calls.hpp"

#include <algorithm>
#include <string_view>

#include "kernel/vm/user_copy.hpp"

namespace aril::platform {
namespace {

constexpr uint64_t kLastStream = 2;  // the program's own are the machine's

// Longer paths are nobody's configuration.
class Path {
 public:
  explicit Path(uint64_t address) {
    if (auto length = copy_string_from_user(text_, address)) name_ = {text_, *length};
  }
  [[nodiscard]] bool is_absolute() const {
    // As it would be printed: no other way to say the same place.
    constexpr std::string_view kDetours[] = {"//", "/./", "/../"};
    return name_.starts_with('/') && std::ranges::none_of(kDetours, [this](std::string_view part) {
             return name_.find(part) != std::string_view::npos;
           });
  }
  [[nodiscard]] bool is_below(std::span<const std::string_view> places) const {
    return is_absolute() && std::ranges::any_of(places, [this](std::string_view place) {
             return name_.starts_with(place);
           });
  }

 private:
  char text_[256];
  std::string_view name_;
};

bool is_empty_string(uint64_t address) {
  auto text = string_from_user(address, 1);
  return text && text->empty();
}

Predictable judge_library(const Path& path) {
  constexpr std::string_view kPlaces[] = {"/lib/", "/lib64/", "/usr/lib/", "/usr/local/lib/",
                                          "/etc/ld.so."};
  return path.is_below(kPlaces) ? Predictable::kYes : Predictable::kNo;
}

/// Files that are in the image, or in memory: not those that show the machine, or that the start of
/// the network writes.
Predictable judge_file(const Path& path) {
  constexpr std::string_view kCpus[] = {"/sys/devices/system/cpu"};
  constexpr std::string_view kNull[] = {"/dev/null"};
  constexpr std::string_view kOfMachine[] = {"/proc", "/sys", "/dev", "/etc/resolv.conf"};
  if (path.is_below(kCpus)) return Predictable::kOneCpu;
  if (path.is_below(kNull)) return Predictable::kYes;
  return path.is_absolute() && !path.is_below(kOfMachine) ? Predictable::kYes : Predictable::kNo;
}

Predictable judge_descriptor(uint64_t fd) {
  return fd > kLastStream ? Predictable::kYes : Predictable::kNo;
}

/// A path relative to a directory's descriptor, or the descriptor itself.
Predictable judge_at(uint64_t fd, uint64_t path, Predictable (*judge)(const Path&)) {
  if (is_empty_string(path)) return judge_descriptor(fd & 0xffff'ffff);
  return judge(Path(path));
}

/// Sockets for neighbours on the same machine, of whom there are none yet.
Predictable judge_connect(uint64_t address) {
  constexpr uint16_t kUnix = 1;
  auto family = UserPtr<uint16_t>(address).read();
  return family && *family == kUnix ? Predictable::kYes : Predictable::kNo;
}

}  // namespace

Predictable judge_linking(uint64_t number, const arch::TrapFrame& frame) {
  constexpr uint64_t kOpenForWriting = 3 | 0100 | 01000;  // O_ACCMODE, O_CREAT, O_TRUNC
  uint64_t first = frame.argument(0), second = frame.argument(1);
  switch (number) {
    case 9:    // mmap
    case 10:   // mprotect
    case 11:   // munmap
    case 12:   // brk
    case 28:   // madvise
    case 158:  // arch_prctl
    case 218:  // set_tid_address
    case 273:  // set_robust_list
    case 334:  // rseq
      return Predictable::kYes;
    case 0:   // read
    case 3:   // close
    case 5:   // fstat
    case 8:   // lseek
    case 17:  // pread64
      return judge_descriptor(first);
    case 21:  // access
      return judge_library(Path(first));
    case 257:  // openat
      return (frame.argument(2) & kOpenForWriting) == 0 ? judge_library(Path(second))
                                                        : Predictable::kNo;
    case 262:  // newfstatat
      return judge_at(first, second, &judge_library);
    case 302:  // prlimit64, which asks
      return frame.argument(2) == 0 ? Predictable::kYes : Predictable::kNo;
    default:
      return Predictable::kNo;
  }
}

Predictable judge_initialising(uint64_t number, const arch::TrapFrame& frame) {
  constexpr uint64_t kNonblock = 1, kWake = 1, kOperation = 0x7f, kUnix = 1;
  if (judge_linking(number, frame) == Predictable::kYes) return Predictable::kYes;
  uint64_t first = frame.argument(0), second = frame.argument(1);
  auto when = [](bool condition) { return condition ? Predictable::kYes : Predictable::kNo; };
  switch (number) {
    case 13:   // rt_sigaction
    case 14:   // rt_sigprocmask
    case 22:   // pipe
    case 39:   // getpid
    case 63:   // uname
    case 79:   // getcwd
    case 80:   // chdir
    case 95:   // umask
    case 96:   // gettimeofday
    case 97:   // getrlimit
    case 99:   // sysinfo
    case 102:  // getuid
    case 104:  // getgid
    case 105:  // setuid
    case 106:  // setgid
    case 107:  // geteuid
    case 108:  // getegid
    case 110:  // getppid
    case 111:  // getpgrp
    case 116:  // setgroups
    case 131:  // sigaltstack
    case 157:  // prctl
    case 160:  // setrlimit
    case 186:  // gettid
    case 201:  // time
    case 213:  // epoll_create
    case 228:  // clock_gettime
    case 229:  // clock_getres
    case 233:  // epoll_ctl
    case 290:  // eventfd2
    case 291:  // epoll_create1
    case 293:  // pipe2
    case 302:  // prlimit64
      return Predictable::kYes;
    case 72:  // fcntl; F_GETFD, F_SETFD and F_GETFL make no other descriptor
      return first <= kLastStream ? when(second >= 1 && second <= 3) : Predictable::kYes;
    case 1:    // write
    case 16:   // ioctl
    case 18:   // pwrite64
    case 19:   // readv
    case 20:   // writev
    case 32:   // dup
    case 77:   // ftruncate
    case 91:   // fchmod
    case 93:   // fchown
    case 217:  // getdents64
      return judge_descriptor(first);
    case 2:   // open
    case 4:   // stat
    case 6:   // lstat
    case 21:  // access
    case 83:  // mkdir
    case 87:  // unlink
    case 89:  // readlink
    case 90:  // chmod
    case 92:  // chown
      return judge_file(Path(first));
    case 257:  // openat
    case 258:  // mkdirat
    case 260:  // fchownat
    case 262:  // newfstatat
    case 263:  // unlinkat
    case 267:  // readlinkat
    case 268:  // fchmodat
    case 269:  // faccessat
    case 332:  // statx
    case 439:  // faccessat2
      return judge_at(first, second, &judge_file);
    case 41:  // socket
      return when(first == kUnix);
    case 42:  // connect
      return judge_connect(second);
    case 202:  // futex
      return when((second & kOperation) == kWake);
    case 204:  // sched_getaffinity
      return Predictable::kOneCpu;
    case 318:  // getrandom
      return (frame.argument(2) & kNonblock) != 0 ? Predictable::kNoEntropy : Predictable::kNo;
    default:
      return Predictable::kNo;
  }
}

}  // namespace aril::platform
