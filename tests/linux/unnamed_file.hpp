#pragma once
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>

/// A new file in /tmp that nobody else sees; `flags` as for open, O_RDWR or O_WRONLY among them.
/// Where the file system has no O_TMPFILE (9p), a name is there for a moment.
inline int unnamed_file(int flags) {
  int fd = open("/tmp", O_TMPFILE | flags, 0600);
  if (fd >= 0 || errno != EOPNOTSUPP) return fd;
  char name[] = "/tmp/unnamed-XXXXXX";
  int made = mkstemp(name);
  if (made < 0) return made;
  fd = open(name, flags);
  unlink(name);
  close(made);
  return fd;
}
