// inotify [inotify(7)].
#include "check.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

namespace {

struct Watcher {
  int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  ~Watcher() { close(fd); }
  int add(const char* name, uint32_t mask = IN_ALL_EVENTS) {
    return inotify_add_watch(fd, name, mask);
  }
  // What came since: "create:name moved_from:name#1 ..."; cookies are numbered from 1.
  std::string events() {
    std::string text;
    char buffer[8192];
    ssize_t count;
    while ((count = read(fd, buffer, sizeof buffer)) > 0) {
      for (char* at = buffer; at < buffer + count;) {
        auto* event = reinterpret_cast<inotify_event*>(at);
        at += sizeof *event + event->len;
        if (!text.empty()) text += ' ';
        text += name_of(event->mask);
        if (event->mask & IN_ISDIR) text += "/";
        if (event->len != 0) text += std::string(":") + event->name;
        if (event->cookie != 0) {
          if (event->cookie != last_cookie) ++cookies;
          last_cookie = event->cookie;
          text += "#" + std::to_string(cookies);
        }
      }
    }
    return text;
  }
  static const char* name_of(uint32_t mask) {
    static const struct {
      uint32_t bit;
      const char* name;
    } kNames[] = {{IN_ACCESS, "access"},           {IN_MODIFY, "modify"},
                  {IN_ATTRIB, "attrib"},           {IN_CLOSE_WRITE, "close_write"},
                  {IN_CLOSE_NOWRITE, "close"},     {IN_OPEN, "open"},
                  {IN_MOVED_FROM, "moved_from"},   {IN_MOVED_TO, "moved_to"},
                  {IN_CREATE, "create"},           {IN_DELETE, "delete"},
                  {IN_DELETE_SELF, "delete_self"}, {IN_MOVE_SELF, "move_self"},
                  {IN_UNMOUNT, "unmount"},         {IN_Q_OVERFLOW, "overflow"},
                  {IN_IGNORED, "ignored"}};
    for (const auto& known : kNames) {
      if (mask & known.bit) return known.name;
    }
    return "?";
  }
  uint32_t last_cookie = 0;
  int cookies = 0;
};

void expect(const std::string& actual, const char* expected, int line) {
  if (actual == expected) return;
  std::string text = "events '" + actual + "', not '" + expected + "'";
  check::fail(__FILE_NAME__, line, text.c_str());
}
#define EXPECT_EVENTS(watcher, text) expect((watcher).events(), text, __LINE__)

void write_file(const char* name, const char* text) {
  int fd = open(name, O_WRONLY | O_CREAT, 0600);
  write(fd, text, strlen(text));
  close(fd);
}

}  // namespace

PROPERTY(directory_events) {
  mkdir("watched", 0700);
  Watcher watcher;
  CHECK_EQ(watcher.add("watched"), 1);
  write_file("watched/a", "text");
  EXPECT_EVENTS(watcher, "create:a open:a modify:a close_write:a");
  int fd = open("watched/a", O_RDONLY);
  char byte;
  read(fd, &byte, 1);
  close(fd);
  EXPECT_EVENTS(watcher, "open:a access:a close:a");
  chmod("watched/a", 0644);
  EXPECT_EVENTS(watcher, "attrib:a");
  truncate("watched/a", 1);
  EXPECT_EVENTS(watcher, "modify:a");
  rename("watched/a", "watched/b");
  EXPECT_EVENTS(watcher, "moved_from:a#1 moved_to:b#1");
  rename("watched/b", "outside");
  EXPECT_EVENTS(watcher, "moved_from:b#2");
  rename("outside", "watched/c");
  EXPECT_EVENTS(watcher, "moved_to:c#3");
  mkdir("watched/d", 0700);
  rmdir("watched/d");
  EXPECT_EVENTS(watcher, "create/:d delete/:d");
  link("watched/c", "watched/l");
  symlink("c", "watched/s");
  unlink("watched/s");
  unlink("watched/l");
  unlink("watched/c");
  EXPECT_EVENTS(watcher, "create:l create:s delete:s delete:l delete:c");
  rmdir("watched");
  EXPECT_EVENTS(watcher, "delete_self ignored");
  CHECK_ERRNO(inotify_rm_watch(watcher.fd, 1), EINVAL);
}

PROPERTY(file_events) {
  write_file("file", "x");
  Watcher watcher;
  CHECK_EQ(watcher.add("file"), 1);
  write_file("file", "y");
  EXPECT_EVENTS(watcher, "open modify close_write");
  link("file", "other");
  EXPECT_EVENTS(watcher, "attrib");
  unlink("other");
  EXPECT_EVENTS(watcher, "attrib");
  rename("file", "moved");
  EXPECT_EVENTS(watcher, "move_self");
  unlink("moved");
  EXPECT_EVENTS(watcher, "attrib delete_self ignored");
}

PROPERTY(open_file_ends_at_its_close) {
  write_file("file", "x");
  Watcher watcher;
  int fd = open("file", O_RDONLY);
  CHECK_EQ(watcher.add("file", IN_DELETE_SELF | IN_ATTRIB), 1);
  unlink("file");
  EXPECT_EVENTS(watcher, "attrib");
  close(fd);
  EXPECT_EVENTS(watcher, "delete_self ignored");
}

PROPERTY(replaced_file_ends) {
  write_file("old", "x");
  write_file("new", "y");
  Watcher watcher;
  CHECK_EQ(watcher.add("old"), 1);
  rename("new", "old");
  EXPECT_EVENTS(watcher, "attrib delete_self ignored");
  unlink("old");
}

PROPERTY(masks) {
  write_file("file", "x");
  Watcher watcher;
  CHECK_EQ(watcher.add("file", IN_OPEN), 1);
  CHECK_EQ(watcher.add("file", IN_MODIFY), 1);  // replaces
  write_file("file", "y");
  EXPECT_EVENTS(watcher, "modify");
  CHECK_EQ(watcher.add("file", IN_OPEN | IN_MASK_ADD), 1);
  write_file("file", "y");
  EXPECT_EVENTS(watcher, "open modify");
  CHECK_ERRNO(watcher.add("file", IN_OPEN | IN_MASK_CREATE), EEXIST);
  CHECK_ERRNO(watcher.add("file", IN_OPEN | IN_MASK_CREATE | IN_MASK_ADD), EINVAL);
  CHECK_ERRNO(watcher.add("file", 0), EINVAL);
  CHECK_ERRNO(watcher.add("file", IN_OPEN | IN_ONLYDIR), ENOTDIR);
  CHECK_ERRNO(watcher.add("absent"), ENOENT);
  CHECK_ERRNO(inotify_add_watch(0, "file", IN_OPEN), EINVAL);
  CHECK_ERRNO(inotify_add_watch(99, "file", IN_OPEN), EBADF);
  CHECK_ERRNO(inotify_init1(1), EINVAL);
  unlink("file");
}

PROPERTY(one_shot) {
  write_file("file", "x");
  Watcher watcher;
  CHECK_EQ(watcher.add("file", IN_OPEN | IN_ONESHOT), 1);
  write_file("file", "y");
  EXPECT_EVENTS(watcher, "open ignored");
  write_file("file", "y");
  EXPECT_EVENTS(watcher, "");
  CHECK_EQ(watcher.add("file", IN_OPEN), 2);
  CHECK_EQ(inotify_rm_watch(watcher.fd, 2), 0);
  EXPECT_EVENTS(watcher, "ignored");
  unlink("file");
}

PROPERTY(same_event_twice_is_one) {
  write_file("file", "x");
  Watcher watcher;
  CHECK_EQ(watcher.add("file", IN_MODIFY), 1);
  int fd = open("file", O_WRONLY);
  for (int i = 0; i < 5; ++i) write(fd, "z", 1);
  close(fd);
  EXPECT_EVENTS(watcher, "modify");
  unlink("file");
}

PROPERTY(reading_and_polling) {
  mkdir("watched", 0700);
  Watcher watcher;
  CHECK_EQ(watcher.add("watched", IN_CREATE), 1);
  char buffer[64];
  CHECK_ERRNO(read(watcher.fd, buffer, sizeof buffer), EAGAIN);
  pollfd poller{watcher.fd, POLLIN, 0};
  CHECK_EQ(poll(&poller, 1, 0), 0);
  write_file("watched/name", "");
  CHECK_EQ(poll(&poller, 1, 0), 1);
  int bytes = 0;
  CHECK_EQ(ioctl(watcher.fd, FIONREAD, &bytes), 0);
  CHECK_EQ(bytes, 32);
  CHECK_ERRNO(read(watcher.fd, buffer, 31), EINVAL);
  CHECK_EQ(read(watcher.fd, buffer, 32), 32);
  unlink("watched/name");
  rmdir("watched");
}

PROPERTY(excluded_when_unlinked) {
  mkdir("watched", 0700);
  Watcher watcher;
  CHECK_EQ(watcher.add("watched", IN_MODIFY | IN_EXCL_UNLINK), 1);
  int fd = open("watched/file", O_WRONLY | O_CREAT, 0600);
  write(fd, "x", 1);
  unlink("watched/file");
  write(fd, "y", 1);
  close(fd);
  EXPECT_EVENTS(watcher, "modify:file");
  rmdir("watched");
}
