/* What a program does with files in a directory, argv[1]; prints the same wherever that is. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAY(call)                                                                 \
  do {                                                                            \
    errno = 0;                                                                    \
    long result = (long)(call);                                                   \
    printf("%s = %ld, %s\n", #call, result, result < 0 ? strerror(errno) : "ok"); \
  } while (0)

static char text[4096];
static struct stat status;

static void show(const char* what, int fd, long length) {
  memset(text, 0, sizeof text);
  printf("%s: %ld '", what, (long)pread(fd, text, length, 0));
  for (long i = 0; i < length && i < 40; i++) putchar(text[i] < ' ' ? '.' : text[i]);
  puts("'");
}

static void names(void) {
  int fd;
  SAY(open("host.txt", O_CREAT | O_EXCL | O_WRONLY, 0600));
  SAY((fd = open("new", O_RDWR | O_CREAT | O_EXCL, 0640)) >= 0);
  SAY(write(fd, "hello\n", 6));
  SAY(fsync(fd));
  SAY(mkdir("dir", 0700));
  SAY(rename("new", "dir/moved"));
  SAY(pwrite(fd, "HE", 2, 0));
  SAY(stat("new", &status));
  SAY(link("dir/moved", "hard"));
  SAY(stat("hard", &status));
  printf("links %ld mode %o\n", (long)status.st_nlink, status.st_mode);
  SAY(unlink("dir/moved"));
  SAY(stat("hard", &status));
  printf("links %ld\n", (long)status.st_nlink);
  SAY(symlink("hard", "soft"));
  SAY(stat("soft", &status));
  memset(text, 0, sizeof text);
  SAY(readlink("soft", text, sizeof text));
  SAY(readlink("host-link", text, sizeof text));
  SAY(rename("hard", "host.txt"));
  SAY(rmdir("dir"));
  SAY(rmdir("host.txt"));
  SAY(unlink("absent"));
  SAY(open("absent/file", O_CREAT | O_WRONLY, 0600));
  SAY(mkdir("dir", 0755));
  SAY(rename("dir", "dir/inside"));
  SAY(chmod("host.txt", 0604));
  SAY(truncate("host.txt", 3));
  struct timespec times[2] = {{1000, 5}, {2000, 6}};
  SAY(utimensat(AT_FDCWD, "host.txt", times, 0));
  SAY(stat("host.txt", &status));
  printf("size %ld mode %o times %ld %ld\n", (long)status.st_size, status.st_mode,
         (long)status.st_atime, (long)status.st_mtime);
  show("renamed", fd, 6);
  close(fd);
}

static void unlinked(void) {
  int fd = open("gone", O_RDWR | O_CREAT, 0600);
  SAY(write(fd, "unlinked", 8));
  SAY(unlink("gone"));
  SAY(fstat(fd, &status));
  printf("size %ld links %ld\n", (long)status.st_size, (long)status.st_nlink);
  show("unlinked", fd, 8);
  SAY(ftruncate(fd, 3));
  show("cut", fd, 8);
  SAY(pwrite(fd, "X", 1, 5));
  show("grown", fd, 8);
  SAY(ftruncate(fd, 100));
  SAY(lseek(fd, 0, SEEK_END));
  SAY(fchmod(fd, 0644));
  SAY(fstat(fd, &status));
  printf("size %ld mode %o\n", (long)status.st_size, status.st_mode);
  int other = open("gone", O_RDWR | O_CREAT | O_EXCL, 0600);
  SAY(write(other, "another file", 12));
  show("the old one", fd, 6);
  SAY(fstat(fd, &status));
  close(fd);
  close(other);
}

static void mappings(void) {
  int fd = open("mapped", O_RDWR | O_CREAT, 0600);
  SAY(ftruncate(fd, 10000));
  char* memory = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  strcpy(memory + 5000, "stored through memory");
  SAY(pread(fd, text, 30, 5000));
  puts(text);
  SAY(pwrite(fd, "written", 7, 0));
  printf("%s\n", memory);
  SAY(msync(memory, 10000, MS_SYNC));
  pid_t child = fork();
  if (child == 0) {
    strcpy(memory + 9000, "by the child");
    _exit(0);
  }
  waitpid(child, NULL, 0);
  printf("%s\n", memory + 9000);
  SAY(munmap(memory, 10000));
  close(fd);
  fd = open("mapped", O_RDONLY);
  SAY(pread(fd, text, 20, 9000));
  puts(text);
  close(fd);
}

static void appends(void) {
  int one = open("log", O_WRONLY | O_CREAT | O_APPEND, 0644);
  int two = open("log", O_WRONLY | O_APPEND);
  for (int i = 0; i < 20; i++) dprintf(i % 2 ? one : two, "line %d\n", i);
  SAY(lseek(one, 0, SEEK_CUR) > 0);
  close(one);
  close(two);
}

static void locks(void) {
  int fd = open("lock", O_RDWR | O_CREAT, 0600);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
  SAY(fcntl(fd, F_SETLK, &lock));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int mine = open("lock", O_RDWR);
    SAY(fcntl(mine, F_SETLK, &lock));
    lock.l_start = 10;
    SAY(fcntl(mine, F_SETLK, &lock));
    SAY(flock(mine, LOCK_EX | LOCK_NB));
    fflush(stdout);
    _exit(0);
  }
  waitpid(child, NULL, 0);
  close(fd);
}

static int by_name(const void* a, const void* b) {
  return strcmp(*(char* const*)a, *(char* const*)b);
}

static void directories(void) {
  mkdir("many", 0755);
  for (int i = 0; i < 300; i++) {
    snprintf(text, sizeof text, "many/file-with-a-long-name-%03d", i);
    close(open(text, O_CREAT | O_WRONLY, 0644));
  }
  DIR* directory = opendir("many");
  char* found[310];
  int count = 0;
  long middle = 0;
  struct dirent* entry;
  while ((entry = readdir(directory)) != NULL && count < 310) {
    found[count++] = strdup(entry->d_name);
    if (count == 150) middle = telldir(directory);
  }
  seekdir(directory, middle);
  int rest = 0;
  while (readdir(directory) != NULL) rest++;
  closedir(directory);
  qsort(found, count, sizeof *found, by_name);
  printf("%d entries, %s to %s, %d after the middle\n", count, found[0], found[count - 1], rest);
  for (int i = 0; i < 300; i += 2) {
    snprintf(text, sizeof text, "many/file-with-a-long-name-%03d", i);
    unlink(text);
  }
  SAY(rmdir("many"));
}

static void* write_block(void* argument) {
  long number = (long)argument;
  int fd = open("threads", O_WRONLY);
  char block[5000];
  memset(block, 'a' + (int)number, sizeof block);
  for (int i = 0; i < 20; i++) pwrite(fd, block, sizeof block, (i * 4 + number) * 5000);
  close(fd);
  return NULL;
}

static void several_at_once(void) {
  close(open("threads", O_CREAT | O_WRONLY, 0600));
  pthread_t threads[4];
  for (long i = 0; i < 4; i++) pthread_create(&threads[i], NULL, write_block, (void*)i);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  SAY(stat("threads", &status));
  printf("size %ld\n", (long)status.st_size);
}

static void large_transfers(void) {
  size_t size = 1000000;
  char *out = malloc(size), *in = malloc(size);
  for (size_t i = 0; i < size; i++) out[i] = (char)(i * 7 + i / 4096);
  int fd = open("large", O_RDWR | O_CREAT, 0600);
  SAY(write(fd, out, size));
  SAY(pread(fd, in, size, 0));
  SAY(memcmp(in, out, size));
  char* memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
  SAY(memcmp(memory, out, size));
  close(fd);
}

int main(int argc, char** argv) {
  umask(022);
  if (argc != 2 || chdir(argv[1]) != 0) return 1;
  names();
  unlinked();
  mappings();
  appends();
  locks();
  directories();
  several_at_once();
  large_transfers();
  return 0;
}
