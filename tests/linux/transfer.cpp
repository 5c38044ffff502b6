// Moving bytes between files: splice, tee, vmsplice, sendfile, copy_file_range, preadv2, pwritev2,
// and the limit of a file's size.
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <string>

#include "check.hpp"
#include "unnamed_file.hpp"

namespace {

struct File {
  int fd = unnamed_file(O_RDWR);
  explicit File(const char* text = "") { pwrite(fd, text, strlen(text), 0); }
  ~File() { close(fd); }
  operator int() const { return fd; }
  std::string text() const {
    char buffer[256];
    ssize_t count = pread(fd, buffer, sizeof buffer, 0);
    return std::string(buffer, count < 0 ? 0 : count);
  }
};
struct Pipe {
  int in = -1, out = -1;
  explicit Pipe(int flags = 0) {
    int fds[2];
    if (pipe2(fds, flags) == 0) in = fds[0], out = fds[1];
  }
  ~Pipe() {
    close(in);
    close(out);
  }
  std::string take(size_t size = 256) const {
    std::string buffer(size, '\0');
    ssize_t count = read(in, buffer.data(), size);
    buffer.resize(count < 0 ? 0 : count);
    return buffer;
  }
};
iovec vector_of(const char* text) { return {(void*)text, strlen(text)}; }

}  // namespace

PROPERTY(splice_from_a_file_at_an_offset_leaves_the_position) {
  File file("0123456789");
  Pipe pipe;
  loff_t offset = 3;
  CHECK_EQ(splice(file, &offset, pipe.out, nullptr, 4, 0), 4);
  CHECK_EQ(offset, 7);
  CHECK_EQ(lseek(file, 0, SEEK_CUR), 0);
  CHECK(pipe.take() == "3456");
}
PROPERTY(splice_from_a_pipe_moves_the_files_position) {
  File file;
  Pipe pipe;
  CHECK_EQ(write(pipe.out, "hello", 5), 5);
  CHECK_EQ(splice(pipe.in, nullptr, file, nullptr, 100, 0), 5);
  CHECK_EQ(lseek(file, 0, SEEK_CUR), 5);
  CHECK(file.text() == "hello");
}
PROPERTY(splice_between_pipes) {
  Pipe a, b;
  CHECK_EQ(write(a.out, "abcdef", 6), 6);
  CHECK_EQ(splice(a.in, nullptr, b.out, nullptr, 4, 0), 4);
  CHECK(b.take() == "abcd");
  CHECK(a.take() == "ef");
}
PROPERTY(splice_needs_a_pipe) {
  File a("x"), b;
  CHECK_ERRNO(splice(a, nullptr, b, nullptr, 1, 0), EINVAL);
  Pipe pipe;
  CHECK_ERRNO(splice(pipe.in, nullptr, pipe.out, nullptr, 1, 0), EINVAL);
  loff_t offset = 0;
  CHECK_ERRNO(splice(pipe.in, &offset, a, nullptr, 1, 0), ESPIPE);
  CHECK_ERRNO(splice(pipe.out, nullptr, a, nullptr, 1, 0), EBADF);
  CHECK_ERRNO(splice(999, nullptr, pipe.out, nullptr, 1, 0), EBADF);
}
PROPERTY(splice_at_the_end_and_of_nothing) {
  File file("x");
  Pipe pipe;
  loff_t offset = 1;
  CHECK_EQ(splice(file, &offset, pipe.out, nullptr, 10, 0), 0);
  CHECK_EQ(splice(file, nullptr, pipe.out, nullptr, 0, 0), 0);
}
PROPERTY(splice_does_not_wait_when_told) {
  Pipe pipe;
  File file;
  CHECK_ERRNO(splice(pipe.in, nullptr, file, nullptr, 1, SPLICE_F_NONBLOCK), EAGAIN);
  close(pipe.out);
  pipe.out = -1;
  CHECK_EQ(splice(pipe.in, nullptr, file, nullptr, 1, 0), 0);
}
PROPERTY(splice_from_a_socket) {
  int fds[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  Pipe pipe;
  CHECK_EQ(write(fds[0], "socket", 6), 6);
  CHECK_EQ(splice(fds[1], nullptr, pipe.out, nullptr, 100, 0), 6);
  CHECK_EQ(splice(pipe.in, nullptr, fds[1], nullptr, 100, 0), 6);
  char buffer[8];
  CHECK_EQ(read(fds[0], buffer, 8), 6);
  close(fds[0]);
  close(fds[1]);
}
PROPERTY(tee_leaves_the_source) {
  Pipe a, b;
  CHECK_EQ(write(a.out, "tee", 3), 3);
  CHECK_EQ(tee(a.in, b.out, 100, 0), 3);
  CHECK(a.take() == "tee");
  CHECK(b.take() == "tee");
  CHECK_ERRNO(tee(a.in, b.out, 1, SPLICE_F_NONBLOCK), EAGAIN);
  CHECK_ERRNO(tee(a.in, a.out, 1, 0), EINVAL);
  CHECK_EQ(tee(a.in, b.out, 0, 0), 0);
  CHECK_EQ(write(a.out, "x", 1), 1);
  CHECK_EQ(tee(a.in, b.out, 0, 0), 0);
  File file("x");
  CHECK_ERRNO(tee(file, b.out, 1, 0), EINVAL);
}
PROPERTY(vmsplice_writes_to_a_pipe) {
  Pipe pipe;
  iovec parts[2] = {vector_of("vm"), vector_of("splice")};
  CHECK_EQ(vmsplice(pipe.out, parts, 2, 0), 8);
  CHECK(pipe.take() == "vmsplice");
  File file;
  CHECK_ERRNO(vmsplice(file, parts, 2, 0), EBADF);
  CHECK_ERRNO(vmsplice(pipe.out, parts, 2, 0x100), EINVAL);
}
PROPERTY(vmsplice_reads_from_a_pipe) {
  Pipe pipe;
  CHECK_EQ(write(pipe.out, "back", 4), 4);
  char buffer[16];
  iovec part{buffer, sizeof buffer};
  CHECK_EQ(vmsplice(pipe.in, &part, 1, 0), 4);
  CHECK_EQ(memcmp(buffer, "back", 4), 0);
  CHECK_ERRNO(vmsplice(pipe.in, &part, 1, SPLICE_F_NONBLOCK), EAGAIN);
}
PROPERTY(vmsplice_to_a_full_pipe) {
  Pipe pipe;
  static char page[4096];
  iovec part{page, sizeof page};
  int count = 0;
  while (vmsplice(pipe.out, &part, 1, SPLICE_F_NONBLOCK) > 0 && count < 1000) ++count;
  CHECK(count >= 2 && count <= 16);  // Linux gives a user with many pipes smaller ones
  CHECK_ERRNO(vmsplice(pipe.out, &part, 1, SPLICE_F_NONBLOCK), EAGAIN);
}
PROPERTY(sendfile_to_a_file_and_to_a_pipe) {
  File from("sendfile"), to;
  off_t offset = 4;
  CHECK_EQ(sendfile(to, from, &offset, 100), 4);
  CHECK_EQ(offset, 8);
  CHECK(to.text() == "file");
  Pipe pipe;
  CHECK_EQ(sendfile(pipe.out, from, nullptr, 4), 4);
  CHECK(pipe.take() == "send");
  CHECK_EQ(lseek(from, 0, SEEK_CUR), 4);
}
/// What comes out of a TCP connection when `count` bytes of `file` from `offset` on are sent there.
std::string through_tcp(int file, off_t offset, size_t count) {
  int listener = socket(AF_INET, SOCK_STREAM, 0), out = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof address;
  bind(listener, (sockaddr*)&address, length);
  listen(listener, 1);
  getsockname(listener, (sockaddr*)&address, &length);
  std::string text;
  if (connect(out, (sockaddr*)&address, length) == 0) {
    int in = accept(listener, nullptr, nullptr);
    fcntl(out, F_SETFL, O_NONBLOCK);
    size_t sent = 0;
    while (text.size() < count) {
      ssize_t more = sent < count ? sendfile(out, file, &offset, count - sent) : 0;
      if (more > 0) sent += more;
      char buffer[5000];
      ssize_t got = read(in, buffer, sizeof buffer);
      if (got <= 0) break;
      text.append(buffer, got);
    }
    close(in);
  }
  close(out);
  close(listener);
  return text;
}
PROPERTY(sendfile_lends_pages_to_a_connection) {
  int program = open("/proc/self/exe", O_RDONLY);
  std::string expected(30000, '\0');
  CHECK_EQ(pread(program, expected.data(), expected.size(), 777), 30000);
  CHECK(through_tcp(program, 777, 30000) == expected);
  CHECK(through_tcp(program, 4096, 4096) == expected.substr(4096 - 777, 4096));
  close(program);
  // Pages that were made in another order than they have in the file.
  File file;
  std::string whole(40 * 4096 + 100, '\0');
  for (size_t i = 0; i < whole.size(); ++i) whole[i] = char(i * 7 + i / 4096);
  for (int i = 40; i >= 0; --i)
    pwrite(file, whole.data() + i * 4096, i == 40 ? 100 : 4096, i * 4096L);
  CHECK(through_tcp(file, 0, whole.size()) == whole);
  CHECK(through_tcp(file, 4095, 100000) == whole.substr(4095, 100000));
}
PROPERTY(sendfile_errors) {
  File file("x");
  Pipe pipe;
  CHECK_ERRNO(sendfile(file, 999, nullptr, 1), EBADF);
  CHECK_ERRNO(sendfile(pipe.in, file, nullptr, 1), EBADF);
  off_t offset = -1;
  CHECK_ERRNO(sendfile(pipe.out, file, &offset, 1), EINVAL);
  int append = unnamed_file(O_WRONLY | O_APPEND);
  CHECK_ERRNO(sendfile(append, file, nullptr, 1), EINVAL);
  close(append);
}
PROPERTY(copy_file_range_copies) {
  File from("0123456789"), to("abcdefghij");
  loff_t in = 2, out = 5;
  CHECK_EQ(copy_file_range(from, &in, to, &out, 3, 0), 3);
  CHECK_EQ(in, 5);
  CHECK_EQ(out, 8);
  CHECK(to.text() == "abcde234ij");
  CHECK_EQ(copy_file_range(from, nullptr, to, nullptr, 100, 0), 10);
  CHECK_EQ(lseek(from, 0, SEEK_CUR), 10);
  CHECK_EQ(copy_file_range(from, nullptr, to, nullptr, 100, 0), 0);
}
PROPERTY(copy_file_range_errors) {
  File file("0123456789");
  Pipe pipe;
  loff_t a = 0, b = 2;
  CHECK_ERRNO(copy_file_range(file, &a, file, &b, 5, 0), EINVAL);
  CHECK_ERRNO(copy_file_range(file, &a, file, &b, 1, 1), EINVAL);
  CHECK_ERRNO(copy_file_range(file, nullptr, pipe.out, nullptr, 1, 0), EINVAL);
  CHECK_ERRNO(copy_file_range(999, nullptr, file, nullptr, 1, 0), EBADF);
}
PROPERTY(pwritev2_appends) {
  File file("start");
  iovec part = vector_of("+more");
  CHECK_EQ(pwritev2(file, &part, 1, 0, RWF_APPEND), 5);
  CHECK(file.text() == "start+more");
  CHECK_EQ(lseek(file, 0, SEEK_CUR), 0);
  CHECK_EQ(pwritev2(file, &part, 1, -1, RWF_APPEND), 5);
  CHECK_EQ(lseek(file, 0, SEEK_CUR), 15);
}
PROPERTY(pwritev2_writes_through) {
  File file;
  iovec part = vector_of("synced");
  CHECK_EQ(pwritev2(file, &part, 1, 0, RWF_DSYNC), 6);
  CHECK_EQ(pwritev2(file, &part, 1, 6, RWF_SYNC | RWF_HIPRI), 6);
  CHECK_EQ(pwritev2(file, &part, 1, -1, 0), 6);
  CHECK_EQ(lseek(file, 0, SEEK_CUR), 6);
}
PROPERTY(preadv2_does_not_wait_when_told) {
  Pipe pipe;
  char buffer[8];
  iovec part{buffer, 8};
  CHECK_ERRNO(preadv2(pipe.in, &part, 1, -1, RWF_NOWAIT), EAGAIN);
  CHECK_EQ(write(pipe.out, "x", 1), 1);
  CHECK_EQ(preadv2(pipe.in, &part, 1, -1, RWF_NOWAIT), 1);
  CHECK_ERRNO(preadv2(pipe.in, &part, 1, -1, 1 << 20), EOPNOTSUPP);
  CHECK_ERRNO(preadv2(pipe.in, &part, 1, 0, 0), ESPIPE);
}
PROPERTY(vectors_are_checked) {
  File file("0123");
  char buffer[8];
  iovec parts[2] = {{buffer, 2}, {buffer + 2, 6}};
  CHECK_EQ(preadv(file, parts, 2, 1), 3);
  CHECK_ERRNO(preadv(file, parts, -1, 0), EINVAL);
  CHECK_ERRNO(preadv(file, parts, IOV_MAX + 1, 0), EINVAL);
  CHECK_ERRNO(preadv(file, parts, 2, -5), EINVAL);
  iovec huge{buffer, (size_t)SSIZE_MAX + 1};
  CHECK_ERRNO(readv(file, &huge, 1), EINVAL);
  iovec bad{(void*)8, 4};
  CHECK_ERRNO(preadv(file, &bad, 1, 0), EFAULT);
  CHECK_EQ(preadv(file, parts, 0, 0), 0);
}
PROPERTY(a_files_size_is_limited) {
  static volatile sig_atomic_t signals;
  signals = 0;
  signal(SIGXFSZ, [](int) { signals = signals + 1; });
  rlimit old, limit;
  CHECK_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  limit = {100, old.rlim_max};
  CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  File file;
  static char bytes[200];
  ssize_t first = write(file, bytes, 200);
  errno = 0;
  ssize_t second = write(file, bytes, 1);
  int error = errno;
  int truncated = ftruncate(file, 101);
  ssize_t inside = pwrite(file, bytes, 50, 0);
  setrlimit(RLIMIT_FSIZE, &old);
  CHECK_EQ(first, 100);
  CHECK_EQ(second, -1);
  CHECK_EQ(error, EFBIG);
  CHECK_EQ(truncated, -1);
  CHECK_EQ(inside, 50);
  CHECK_EQ((int)signals, 2);
}
PROPERTY(a_pipe_has_a_size) {
  Pipe pipe;
  CHECK_EQ(fcntl(pipe.out, F_GETPIPE_SZ), 65536);
  CHECK_EQ(fcntl(pipe.out, F_SETPIPE_SZ, 5000), 8192);
  CHECK_EQ(fcntl(pipe.in, F_GETPIPE_SZ), 8192);
  CHECK_EQ(write(pipe.out, "12345", 5), 5);
  int count = 0;
  CHECK_EQ(ioctl(pipe.in, 0x541b, &count), 0);
  CHECK_EQ(count, 5);
}
PROPERTY(small_writes_to_a_pipe_are_whole_or_not_at_all) {
  Pipe pipe(O_NONBLOCK);
  static char bytes[65536];
  CHECK_EQ(write(pipe.out, bytes, 65536 - 10), 65526);
  CHECK_ERRNO(write(pipe.out, bytes, 4096), EAGAIN);
  CHECK_EQ(pipe.take(100).size(), 100u);
}
PROPERTY(a_pipe_without_readers_breaks) {
  signal(SIGPIPE, SIG_IGN);
  Pipe pipe;
  pollfd writer{pipe.out, POLLOUT, 0};
  close(pipe.in);
  pipe.in = -1;
  CHECK_ERRNO(write(pipe.out, "x", 1), EPIPE);
  CHECK_EQ(poll(&writer, 1, 0), 1);
  CHECK(writer.revents & POLLERR);
}
