// Writes numbered records to /data/log for ever, and says each number only when fsync has promised
// that it stays. Every tenth record also goes into a file of its own by way of a rename. At its
// start it checks everything that is there and says how much that is: "found N".
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { kRecord = 100, kEvery = 10 };

static void fail(const char* what, long number) {
  printf("failed %s %ld: %s\n", what, number, strerror(errno));
  fflush(stdout);
  _exit(1);
}

static void make_record(long number, char* record) {
  int length = snprintf(record, kRecord + 1, "%08ld ", number);
  for (int i = length; i < kRecord - 1; ++i) record[i] = (char)('a' + (number + i) % 26);
  record[kRecord - 1] = '\n';
}

/// The log may end with a record that was never acknowledged, whole, in part, or as zeroes.
static long check_log(int log) {
  char expected[kRecord + 1], got[kRecord];
  long number = 0;
  for (;; ++number) {
    make_record(number, expected);
    ssize_t count = pread(log, got, kRecord, number * kRecord);
    if (count < 0) fail("read", number);
    if (count < kRecord || memcmp(got, expected, kRecord) != 0) return number;
  }
}

static void check_file(long number) {
  char name[64], expected[kRecord + 1], got[kRecord + 1];
  snprintf(name, sizeof name, "/data/files/%ld", number);
  int file = open(name, O_RDONLY);
  if (file < 0) fail("open of a renamed file", number);
  make_record(number, expected);
  if (read(file, got, sizeof got) != kRecord || memcmp(got, expected, kRecord) != 0)
    fail("contents of a renamed file", number);
  close(file);
}

static void write_file(long number, const char* record, int directory) {
  char name[64];
  snprintf(name, sizeof name, "/data/files/%ld", number);
  int file = open("/data/files/new", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0 || write(file, record, kRecord) != kRecord || fsync(file) != 0) fail("file", number);
  close(file);
  if (rename("/data/files/new", name) != 0 || fsync(directory) != 0) fail("rename", number);
  // Old ones go, so that blocks are freed and used again.
  snprintf(name, sizeof name, "/data/files/%ld", number - 200 * kEvery);
  if (number >= 200 * kEvery && unlink(name) != 0) fail("unlink", number);
}

int main(int count, char** arguments) {
  long limit = count > 1 ? atol(arguments[1]) : 1L << 60;
  mkdir("/data/files", 0755);
  int log = open("/data/log", O_RDWR | O_CREAT, 0644);
  int directory = open("/data/files", O_RDONLY | O_DIRECTORY);
  if (log < 0 || directory < 0) fail("open", 0);
  long number = check_log(log);
  for (long i = (number - 1) / kEvery * kEvery; i >= 0 && i > number - 200 * kEvery; i -= kEvery) {
    if (number > 0) check_file(i);
  }
  printf("found %ld\n", number);
  fflush(stdout);
  if (ftruncate(log, number * kRecord) != 0) fail("truncate", number);
  char record[kRecord + 1];
  for (; number < limit; ++number) {
    make_record(number, record);
    if (number % kEvery == 0) write_file(number, record, directory);
    if (pwrite(log, record, kRecord, number * kRecord) != kRecord) fail("write", number);
    if ((number % 2 == 0 ? fsync(log) : fdatasync(log)) != 0) fail("fsync", number);
    printf("%ld\n", number);
    fflush(stdout);
  }
  return 0;
}
