#include "volume/volume_confinement.hpp"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "support/file.hpp"

namespace aril::tool {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kNobody = 65534;

class VolumeConfinementTest : public testing::Test {
 protected:
  VolumeConfinementTest() {
    fs::permissions(directory.path(), fs::perms(0755));
    write_file(directory.path() / "inside", "x");
  }

  /// What becomes of `act`, as a child that has confined itself: 0 when it returned true.
  template <typename Act>
  int status_of(unsigned user, Act act) {
    const int descriptor = open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const pid_t child = fork();
    if (child == 0) {
      if (geteuid() != user &&
          (setgroups(0, nullptr) != 0 || setgid(user) != 0 || setuid(user) != 0))
        _exit(2);
      confine_to_directory(descriptor);
      _exit(act(descriptor) ? 0 : 1);
    }
    close(descriptor);
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return status;
  }

  static bool cannot_open(const char* path, int error) {
    return open(path, O_RDONLY | O_CLOEXEC) < 0 && errno == error;
  }

  TemporaryDirectory directory{fs::temp_directory_path()};
};

TEST_F(VolumeConfinementTest, AnOrdinaryUsersPathsEndAtTheDirectory) {
  constexpr long kCreateRuleset = 444;
  if (syscall(kCreateRuleset, nullptr, 0, 1) < 2) GTEST_SKIP() << "a host without Landlock's ABI 2";
  const unsigned user = geteuid() == 0 ? kNobody : geteuid();
  EXPECT_EQ(status_of(user,
                      [](int descriptor) {
                        return openat(descriptor, "inside", O_RDONLY | O_CLOEXEC) >= 0 &&
                               cannot_open("/etc/passwd", EACCES) && cannot_open("/", EACCES);
                      }),
            0);
}

TEST_F(VolumeConfinementTest, RootsPathsEndAtTheDirectory) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  EXPECT_EQ(status_of(0,
                      [](int descriptor) {
                        return openat(descriptor, "inside", O_RDONLY | O_CLOEXEC) >= 0 &&
                               openat(descriptor, "../../../../inside", O_RDONLY | O_CLOEXEC) >=
                                   0 &&
                               cannot_open("/etc/passwd", ENOENT) && setuid(kNobody) != 0;
                      }),
            0);
}

TEST_F(VolumeConfinementTest, AnotherSystemCallKills) {
  const int status = status_of(geteuid(), [](int) {
    allow_only_serving();
    return syscall(SYS_socket, 1, 1, 0) < 0;
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGSYS);
}

}  // namespace
}  // namespace aril::tool
