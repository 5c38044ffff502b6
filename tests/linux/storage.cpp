// What file systems differ in: holes, time stamps of mapped files, special files, open files whose
// names go. apps/programs_on_... runs it on a disk and on a volume as well.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "check.hpp"

namespace {

constexpr off_t kPage = 4096, kFar = 1 << 20;

// An empty folder of its own for a scope.
struct Folder {
  char name[32] = "/tmp/storage-XXXXXX";
  Folder() { (void)!mkdtemp(name); }
  ~Folder() {
    for (const std::string& entry : entries()) unlink(in(entry.c_str()).c_str());
    rmdir(name);
  }
  std::string in(const char* entry) const { return std::string(name) + "/" + entry; }
  std::vector<std::string> entries(unsigned char* last_type = nullptr) const {
    std::vector<std::string> found;
    DIR* directory = opendir(name);
    if (directory == nullptr) return found;
    while (dirent* entry = readdir(directory)) {
      if (entry->d_name[0] == '.') continue;
      found.push_back(entry->d_name);
      if (last_type != nullptr) *last_type = entry->d_type;
    }
    closedir(directory);
    return found;
  }
};

bool later(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}
timespec modified(int fd) {
  struct stat status{};
  fstat(fd, &status);
  return status.st_mtim;
}
// Past the granularity of time stamps.
void pause_a_moment() { usleep(50'000); }

char* map(int fd, size_t size) {
  return static_cast<char*>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
}
// A file that is a hole, mapped.
struct MappedHole {
  Folder folder;
  const int fd = open(folder.in("file").c_str(), O_CREAT | O_RDWR, 0600);
  const off_t size;
  char* const memory;
  explicit MappedHole(off_t bytes)
      : size(bytes), memory(ftruncate(fd, bytes) == 0 ? map(fd, bytes) : nullptr) {}
  ~MappedHole() {
    munmap(memory, size);
    close(fd);
  }
};

int status_of(pid_t child) {
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

PROPERTY(holes_and_data_are_told_apart) {
  Folder folder;
  int fd = open(folder.in("sparse").c_str(), O_CREAT | O_RDWR, 0600);
  std::vector<char> page(kPage, 'x');
  CHECK_EQ(pwrite(fd, page.data(), kPage, kFar), kPage);
  CHECK_EQ(ftruncate(fd, 3 * kFar), 0);
  CHECK_EQ(lseek(fd, 0, SEEK_DATA), kFar);
  CHECK_EQ(lseek(fd, 0, SEEK_HOLE), 0);
  CHECK_EQ(lseek(fd, kFar + 10, SEEK_DATA), kFar + 10);
  CHECK_EQ(lseek(fd, kFar + 10, SEEK_HOLE), kFar + kPage);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), kFar + kPage);
  CHECK_ERRNO(lseek(fd, kFar + kPage, SEEK_DATA), ENXIO);
  CHECK_ERRNO(lseek(fd, 3 * kFar, SEEK_HOLE), ENXIO);
  CHECK_ERRNO(lseek(fd, -1, SEEK_DATA), ENXIO);
  close(fd);
}
PROPERTY(a_punched_hole_is_found) {
  Folder folder;
  int fd = open(folder.in("file").c_str(), O_CREAT | O_RDWR, 0600);
  std::vector<char> bytes(8 * kPage, 'x');
  CHECK_EQ(write(fd, bytes.data(), bytes.size()), 8 * kPage);
  CHECK_EQ(lseek(fd, 0, SEEK_HOLE), 8 * kPage);
  CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * kPage, 3 * kPage), 0);
  CHECK_EQ(lseek(fd, 0, SEEK_HOLE), 2 * kPage);
  CHECK_EQ(lseek(fd, 2 * kPage, SEEK_DATA), 5 * kPage);
  close(fd);
}
PROPERTY(a_store_through_a_mapping_makes_data_of_a_hole) {
  MappedHole file(4 * kPage);
  CHECK_ERRNO(lseek(file.fd, 0, SEEK_DATA), ENXIO);
  file.memory[2 * kPage] = 'x';
  CHECK_EQ(lseek(file.fd, 0, SEEK_DATA), 2 * kPage);
}
PROPERTY(stores_through_a_mapping_set_the_modification_time) {
  MappedHole file(2 * kPage);
  timespec before = modified(file.fd);
  pause_a_moment();
  CHECK_EQ(file.memory[0], 0);
  CHECK(!later(modified(file.fd), before));
  file.memory[kPage] = 'x';
  timespec after = modified(file.fd);
  CHECK(later(after, before));
  pause_a_moment();
  CHECK(!later(modified(file.fd), after));
}
PROPERTY(a_time_that_is_set_after_a_store_stays) {
  MappedHole file(kPage);
  file.memory[0] = 'x';
  timespec times[2] = {{1000, 0}, {2000, 0}};
  CHECK_EQ(futimens(file.fd, times), 0);
  CHECK_EQ(modified(file.fd).tv_sec, 2000);
  CHECK_EQ(msync(file.memory, kPage, MS_SYNC), 0);
  CHECK_EQ(modified(file.fd).tv_sec, 2000);
}
PROPERTY(a_fifo_connects_processes) {
  Folder folder;
  std::string fifo = folder.in("fifo");
  CHECK_EQ(mkfifo(fifo.c_str(), 0640), 0);
  struct stat status{};
  CHECK_EQ(lstat(fifo.c_str(), &status), 0);
  CHECK(S_ISFIFO(status.st_mode));
  CHECK_EQ(status.st_mode & 07777, 0640u);
  unsigned char type = 0;
  CHECK_EQ(folder.entries(&type).size(), 1u);
  CHECK(type == DT_FIFO || type == DT_UNKNOWN);
  pid_t child = fork();
  if (child == 0) {
    int out = open(fifo.c_str(), O_WRONLY);
    _exit(write(out, "through", 7) == 7 ? 0 : 1);
  }
  int in = open(fifo.c_str(), O_RDONLY);
  char text[8] = {};
  CHECK_EQ(read(in, text, 8), 7);
  CHECK(!strcmp(text, "through"));
  close(in);
  CHECK_EQ(status_of(child), 0);
  CHECK_ERRNO(open(fifo.c_str(), O_WRONLY | O_NONBLOCK), ENXIO);
  CHECK_EQ(chmod(fifo.c_str(), 0600), 0);
  CHECK_EQ(rename(fifo.c_str(), folder.in("other").c_str()), 0);
  CHECK_EQ(lstat(folder.in("other").c_str(), &status), 0);
  CHECK_EQ(status.st_mode, S_IFIFO | 0600u);
}
PROPERTY(a_bound_socket_is_reached_by_its_name) {
  Folder folder;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, folder.in("socket").c_str());
  auto* name = reinterpret_cast<sockaddr*>(&address);
  int server = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_EQ(bind(server, name, sizeof address), 0);
  CHECK_EQ(listen(server, 1), 0);
  struct stat status{};
  CHECK_EQ(lstat(address.sun_path, &status), 0);
  CHECK(S_ISSOCK(status.st_mode));
  CHECK_ERRNO(open(address.sun_path, O_RDWR), ENXIO);
  pid_t child = fork();
  if (child == 0) {
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(client, name, sizeof address) != 0) _exit(1);
    _exit(write(client, "hello", 5) == 5 ? 0 : 2);
  }
  int connection = accept(server, nullptr, nullptr);
  char text[8] = {};
  CHECK_EQ(read(connection, text, 8), 5);
  CHECK_EQ(status_of(child), 0);
  close(connection);
  close(server);
  int again = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_ERRNO(connect(again, name, sizeof address), ECONNREFUSED);
  CHECK_ERRNO(bind(again, name, sizeof address), EADDRINUSE);
  CHECK_EQ(unlink(address.sun_path), 0);
  CHECK_EQ(bind(again, name, sizeof address), 0);
  close(again);
}
PROPERTY(an_empty_file_with_the_sticky_bit_is_a_file) {
  Folder folder;
  int fd = open(folder.in("file").c_str(), O_CREAT | O_RDWR, 0600);
  CHECK_EQ(fchmod(fd, 01600), 0);
  struct stat status{};
  CHECK_EQ(stat(folder.in("file").c_str(), &status), 0);
  CHECK_EQ(status.st_mode, S_IFREG | 01600u);
  close(fd);
}
PROPERTY(an_open_file_outlives_its_replacement) {
  Folder folder;
  int fd = open(folder.in("file").c_str(), O_CREAT | O_RDWR, 0600);
  CHECK_EQ(write(fd, "old", 3), 3);
  char* memory = map(fd, kPage);
  int other = open(folder.in("new").c_str(), O_CREAT | O_RDWR, 0600);
  CHECK_EQ(write(other, "newer", 5), 5);
  CHECK_EQ(rename(folder.in("new").c_str(), folder.in("file").c_str()), 0);
  struct stat status{};
  CHECK_EQ(fstat(fd, &status), 0);
  CHECK_EQ(status.st_nlink, 0u);
  CHECK_EQ(status.st_size, 3);
  CHECK(!memcmp(memory, "old", 3));
  memory[0] = 'O';
  CHECK_EQ(pwrite(fd, "est", 3, 3), 3);
  char text[8] = {};
  CHECK_EQ(pread(fd, text, 8, 0), 6);
  CHECK(!strcmp(text, "Oldest"));
  CHECK_EQ(ftruncate(fd, 2), 0);
  CHECK_EQ(pread(fd, text, 8, 0), 2);
  CHECK_EQ(stat(folder.in("file").c_str(), &status), 0);
  CHECK_EQ(status.st_size, 5);
  munmap(memory, kPage);
  close(other);
  close(fd);
}
PROPERTY(user_attributes_are_kept) {
  Folder folder;
  int fd = open(folder.in("file").c_str(), O_CREAT | O_RDWR, 0600);
  // Before Linux 6.6 tmpfs has none.
  if (fsetxattr(fd, "user.color", "green", 5, XATTR_CREATE) != 0 && errno == EOPNOTSUPP) return;
  CHECK_ERRNO(fsetxattr(fd, "user.color", "x", 1, XATTR_CREATE), EEXIST);
  char text[8] = {};
  CHECK_EQ(getxattr(folder.in("file").c_str(), "user.color", text, 8), 5);
  CHECK(!strcmp(text, "green"));
  CHECK_EQ(fremovexattr(fd, "user.color"), 0);
  CHECK_ERRNO(fgetxattr(fd, "user.color", text, 8), ENODATA);
  close(fd);
}
