// variants: static-musl dynamic
// options: --memory 64M
// Runtimes reserve far more address space than there is memory, and touch little of it.
#include <stdio.h>
#include <sys/mman.h>

int main(void) {
  const size_t size = 100ul << 30;
  char* area = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED) return perror("mmap"), 1;
  for (int i = 0; i < 100; ++i) {
    char* page = area + ((size_t)i << 30);
    if (mprotect(page, 4096, PROT_READ | PROT_WRITE) != 0) return perror("mprotect"), 1;
    page[0] = (char)i;
    page[4095] = (char)(i + 1);
  }
  for (int i = 0; i < 100; ++i) {
    const char* page = area + ((size_t)i << 30);
    if (page[0] != (char)i || page[1] != 0 || page[4095] != (char)(i + 1)) return puts("wrong"), 1;
  }
  if (munmap(area, size) != 0) return perror("munmap"), 1;
  puts("touched 100 pages of 100 GiB");
  return 0;
}
