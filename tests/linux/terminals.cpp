// Pseudo terminals and their line discipline.
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <string>

#include "check.hpp"

namespace {

struct Terminal {
  int master = -1, slave = -1;
  Terminal() {
    master = posix_openpt(O_RDWR | O_NOCTTY);
    if (grantpt(master) == 0 && unlockpt(master) == 0)
      slave = open(ptsname(master), O_RDWR | O_NOCTTY);
  }
  ~Terminal() {
    close(slave);
    close(master);
  }
  void change(void (*how)(termios&)) const {
    termios settings;
    tcgetattr(slave, &settings);
    how(settings);
    tcsetattr(slave, TCSANOW, &settings);
  }
  void raw() const {
    change([](termios& settings) { cfmakeraw(&settings); });
  }
  void quiet() const {
    change([](termios& settings) { settings.c_lflag &= ~ECHO; });
  }
  // What comes from `fd` within a moment.
  static std::string take(int fd, int wait = 1000) {
    pollfd poller{fd, POLLIN, 0};
    char buffer[256];
    if (poll(&poller, 1, wait) != 1) return "(nothing)";
    ssize_t count = read(fd, buffer, sizeof buffer);
    return std::string(buffer, count < 0 ? 0 : count);
  }
};

}  // namespace

PROPERTY(a_pair_is_opened_by_name) {
  Terminal terminal;
  CHECK(terminal.master >= 0 && terminal.slave >= 0);
  CHECK(isatty(terminal.master) && isatty(terminal.slave));
  CHECK_EQ(strncmp(ptsname(terminal.master), "/dev/pts/", 9), 0);
  struct stat status;
  CHECK_EQ(fstat(terminal.slave, &status), 0);
  CHECK(S_ISCHR(status.st_mode));
  unsigned number;
  CHECK_EQ(ioctl(terminal.master, TIOCGPTN, &number), 0);
  CHECK(std::to_string(number) == ptsname(terminal.master) + 9);
}
PROPERTY(other_files_are_no_terminals) {
  int fd = open("/dev/null", O_RDWR);
  termios settings;
  CHECK_EQ(isatty(fd), 0);
  CHECK_ERRNO(tcgetattr(fd, &settings), ENOTTY);
  winsize size;
  CHECK_ERRNO(ioctl(fd, TIOCGWINSZ, &size), ENOTTY);
  close(fd);
}
PROPERTY(a_slave_is_locked_at_first) {
  int master = posix_openpt(O_RDWR | O_NOCTTY);
  char name[64];
  CHECK_EQ(ptsname_r(master, name, sizeof name), 0);
  int locked = 0;
  CHECK_EQ(ioctl(master, TIOCGPTLCK, &locked), 0);
  CHECK_EQ(locked, 1);
  CHECK_ERRNO(open(name, O_RDWR | O_NOCTTY), EIO);
  CHECK_EQ(unlockpt(master), 0);
  int slave = open(name, O_RDWR | O_NOCTTY);
  CHECK(slave >= 0);
  close(slave);
  close(master);
}
PROPERTY(lines_come_whole) {
  Terminal terminal;
  terminal.quiet();
  CHECK_EQ(write(terminal.master, "par", 3), 3);
  CHECK(Terminal::take(terminal.slave, 50) == "(nothing)");
  CHECK_EQ(write(terminal.master, "t\nnext\n", 7), 7);
  CHECK(Terminal::take(terminal.slave) == "part\n");
  CHECK(Terminal::take(terminal.slave) == "next\n");
}
PROPERTY(a_short_read_leaves_the_rest_of_the_line) {
  Terminal terminal;
  terminal.quiet();
  CHECK_EQ(write(terminal.master, "abcdef\n", 7), 7);
  char buffer[4];
  CHECK_EQ(read(terminal.slave, buffer, 3), 3);
  CHECK(Terminal::take(terminal.slave) == "def\n");
}
PROPERTY(input_is_echoed) {
  Terminal terminal;
  CHECK_EQ(write(terminal.master, "hi\n", 3), 3);
  CHECK(Terminal::take(terminal.master) == "hi\r\n");
  CHECK(Terminal::take(terminal.slave) == "hi\n");
}
PROPERTY(control_characters_are_echoed_visibly) {
  Terminal terminal;
  CHECK_EQ(write(terminal.master, "\x01\n", 2), 2);
  CHECK(Terminal::take(terminal.master) == "^A\r\n");
}
PROPERTY(erase_and_kill_edit_the_line) {
  Terminal terminal;
  terminal.quiet();
  CHECK_EQ(write(terminal.master, "abc\x7f\x7fx\n", 7), 7);
  CHECK(Terminal::take(terminal.slave) == "ax\n");
  CHECK_EQ(write(terminal.master, "wrong\x15right\n", 12), 12);
  CHECK(Terminal::take(terminal.slave) == "right\n");
  CHECK_EQ(write(terminal.master, "one two\x17three\n", 14), 14);
  CHECK(Terminal::take(terminal.slave) == "one three\n");
}
PROPERTY(end_of_file_ends_a_line_without_newline) {
  Terminal terminal;
  terminal.quiet();
  CHECK_EQ(write(terminal.master, "abc\x04", 4), 4);
  CHECK(Terminal::take(terminal.slave) == "abc");
  CHECK_EQ(write(terminal.master, "\x04", 1), 1);
  char byte;
  CHECK_EQ(read(terminal.slave, &byte, 1), 0);
}
PROPERTY(carriage_returns_become_newlines) {
  Terminal terminal;
  terminal.quiet();
  CHECK_EQ(write(terminal.master, "line\r", 5), 5);
  CHECK(Terminal::take(terminal.slave) == "line\n");
}
PROPERTY(output_newlines_get_carriage_returns) {
  Terminal terminal;
  CHECK_EQ(write(terminal.slave, "a\nb", 3), 3);
  CHECK(Terminal::take(terminal.master) == "a\r\nb");
  terminal.change([](termios& settings) { settings.c_oflag &= ~OPOST; });
  CHECK_EQ(write(terminal.slave, "a\nb", 3), 3);
  CHECK(Terminal::take(terminal.master) == "a\nb");
}
PROPERTY(raw_input_comes_byte_by_byte) {
  Terminal terminal;
  terminal.raw();
  CHECK_EQ(write(terminal.master, "x\x03\x7f\r", 4), 4);
  CHECK(Terminal::take(terminal.slave) == "x\x03\x7f\r");
  CHECK(Terminal::take(terminal.master, 50) == "(nothing)");
}
PROPERTY(a_minimum_and_a_time_end_a_raw_read) {
  Terminal terminal;
  terminal.change([](termios& settings) {
    cfmakeraw(&settings);
    settings.c_cc[VMIN] = 0;
    settings.c_cc[VTIME] = 1;
  });
  char buffer[8];
  CHECK_EQ(read(terminal.slave, buffer, 8), 0);
  terminal.change([](termios& settings) {
    settings.c_cc[VMIN] = 3;
    settings.c_cc[VTIME] = 0;
  });
  CHECK_EQ(write(terminal.master, "abc", 3), 3);
  CHECK_EQ(read(terminal.slave, buffer, 8), 3);
}
PROPERTY(settings_are_kept) {
  Terminal terminal;
  termios settings, again;
  CHECK_EQ(tcgetattr(terminal.slave, &settings), 0);
  CHECK(settings.c_lflag & ICANON);
  CHECK(settings.c_lflag & ECHO);
  CHECK(settings.c_iflag & ICRNL);
  CHECK(settings.c_oflag & OPOST);
  CHECK_EQ(settings.c_cc[VINTR], 3);
  CHECK_EQ(settings.c_cc[VEOF], 4);
  settings.c_cc[VINTR] = 7;
  CHECK_EQ(tcsetattr(terminal.slave, TCSADRAIN, &settings), 0);
  CHECK_EQ(tcgetattr(terminal.slave, &again), 0);
  CHECK_EQ(again.c_cc[VINTR], 7);
}
PROPERTY(window_sizes_are_kept) {
  Terminal terminal;
  winsize size{24, 80, 0, 0}, seen{};
  CHECK_EQ(ioctl(terminal.master, TIOCSWINSZ, &size), 0);
  CHECK_EQ(ioctl(terminal.slave, TIOCGWINSZ, &seen), 0);
  CHECK_EQ(seen.ws_row, 24);
  CHECK_EQ(seen.ws_col, 80);
}
PROPERTY(a_closed_master_hangs_up) {
  Terminal terminal;
  close(terminal.master);
  terminal.master = -1;
  char byte;
  CHECK_EQ(read(terminal.slave, &byte, 1), 0);
  CHECK_ERRNO(write(terminal.slave, "x", 1), EIO);
  pollfd poller{terminal.slave, POLLIN, 0};
  CHECK_EQ(poll(&poller, 1, 0), 1);
  CHECK(poller.revents & POLLHUP);
}
PROPERTY(a_closed_slave_ends_the_masters_input) {
  Terminal terminal;
  CHECK_EQ(write(terminal.slave, "last", 4), 4);
  close(terminal.slave);
  terminal.slave = -1;
  CHECK(Terminal::take(terminal.master) == "last");
  char byte;
  CHECK_ERRNO(read(terminal.master, &byte, 1), EIO);
}
PROPERTY(waiting_bytes_are_counted_and_flushed) {
  Terminal terminal;
  terminal.raw();
  CHECK_EQ(write(terminal.master, "12345", 5), 5);
  usleep(20000);
  int count = 0;
  CHECK_EQ(ioctl(terminal.slave, FIONREAD, &count), 0);
  CHECK_EQ(count, 5);
  CHECK_EQ(tcflush(terminal.slave, TCIFLUSH), 0);
  CHECK_EQ(ioctl(terminal.slave, FIONREAD, &count), 0);
  CHECK_EQ(count, 0);
}
PROPERTY(nonblocking_reads_do_not_wait) {
  Terminal terminal;
  CHECK_EQ(fcntl(terminal.slave, F_SETFL, O_NONBLOCK), 0);
  char byte;
  CHECK_ERRNO(read(terminal.slave, &byte, 1), EAGAIN);
  CHECK_EQ(fcntl(terminal.master, F_SETFL, O_NONBLOCK), 0);
  CHECK_ERRNO(read(terminal.master, &byte, 1), EAGAIN);
}
PROPERTY(there_is_no_controlling_terminal_without_a_session) {
  pid_t pid = fork();
  if (pid == 0) {
    setsid();
    errno = 0;
    int fd = open("/dev/tty", O_RDWR);
    _exit(fd == -1 && errno == ENXIO ? 0 : 1);
  }
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(status, 0);
}
PROPERTY(a_session_leader_gets_a_terminal_and_its_signals) {
  Terminal terminal;
  int ready[2];
  CHECK_EQ(pipe(ready), 0);
  pid_t pid = fork();
  if (pid == 0) {
    setsid();
    if (ioctl(terminal.slave, TIOCSCTTY, 0) != 0) _exit(2);
    if (tcgetpgrp(terminal.slave) != getpid()) _exit(3);
    if (tcgetsid(terminal.slave) != getpid()) _exit(4);
    signal(SIGINT, SIG_DFL);
    (void)write(ready[1], "x", 1);
    for (;;) pause();
  }
  char byte;
  CHECK_EQ(read(ready[0], &byte, 1), 1);
  CHECK_EQ(write(terminal.master, "\x03", 1), 1);
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFSIGNALED(status));
  CHECK_EQ(WTERMSIG(status), SIGINT);
}
PROPERTY(old_settings_are_the_low_halves) {
  Terminal terminal;
  struct termio old{};
  termios settings;
  CHECK_EQ(ioctl(terminal.slave, TCGETA, &old), 0);
  CHECK_EQ(tcgetattr(terminal.slave, &settings), 0);
  CHECK_EQ(old.c_lflag, (unsigned short)settings.c_lflag);
  CHECK_EQ(old.c_cc[VINTR], settings.c_cc[VINTR]);
  old.c_lflag &= (unsigned short)~ECHO;
  for (unsigned long request : {TCSETA, TCSETAW, TCSETAF})
    CHECK_EQ(ioctl(terminal.slave, request, &old), 0);
  termios after;
  CHECK_EQ(tcgetattr(terminal.slave, &after), 0);
  CHECK_EQ(after.c_lflag, settings.c_lflag & ~(tcflag_t)ECHO);
  CHECK_EQ(after.c_cc[VEOL2], settings.c_cc[VEOL2]);
}
PROPERTY(locked_settings_stay) {
  Terminal terminal;
  // The kernel's structure, which is smaller than the C library's.
  struct {
    unsigned input, output, control, local;
    unsigned char line, characters[19];
  } locked{}, read_back{};
  locked.local = ECHO;
  locked.characters[VINTR] = 1;
  CHECK_EQ(ioctl(terminal.slave, TIOCSLCKTRMIOS, &locked), 0);
  CHECK_EQ(ioctl(terminal.slave, TIOCGLCKTRMIOS, &read_back), 0);
  CHECK_EQ(memcmp(&locked, &read_back, sizeof locked), 0);
  terminal.change([](termios& settings) {
    settings.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    settings.c_cc[VINTR] = 'x';
  });
  termios after;
  CHECK_EQ(tcgetattr(terminal.slave, &after), 0);
  CHECK_EQ(after.c_lflag & (ECHO | ISIG), (tcflag_t)ECHO);
  CHECK_EQ(after.c_cc[VINTR], 3);
}
