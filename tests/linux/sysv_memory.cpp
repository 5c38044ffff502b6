// System V shared memory [shmget(2), shmop(2), shmctl(2)].
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.hpp"

namespace {

constexpr key_t kKey = 0x41524c31;

}  // namespace

PROPERTY(shm_attaches_and_counts) {
  int id = shmget(IPC_PRIVATE, 10000, IPC_CREAT | 0640);
  CHECK(id >= 0);
  shmid_ds status{};
  CHECK_EQ(shmctl(id, IPC_STAT, &status), 0);
  CHECK_EQ(status.shm_segsz, 10000u);
  CHECK_EQ(status.shm_nattch, 0u);
  CHECK_EQ(status.shm_perm.mode, 0640);
  CHECK_EQ(status.shm_cpid, getpid());
  CHECK_EQ(status.shm_lpid, 0);
  CHECK_EQ(status.shm_atime, 0);
  auto* first = static_cast<char*>(shmat(id, nullptr, 0));
  CHECK(first != MAP_FAILED);
  auto* second = static_cast<char*>(shmat(id, nullptr, SHM_RDONLY));
  CHECK(second != MAP_FAILED && second != first);
  std::strcpy(first + 9000, "seen twice");
  CHECK(std::strcmp(second + 9000, "seen twice") == 0);
  CHECK_EQ(first[12287], 0);  // to the end of the page
  CHECK_EQ(shmctl(id, IPC_STAT, &status), 0);
  CHECK_EQ(status.shm_nattch, 2u);
  CHECK_EQ(status.shm_lpid, getpid());
  CHECK(status.shm_atime != 0);
  CHECK_EQ(shmdt(first), 0);
  CHECK_ERRNO(shmdt(first), EINVAL);
  CHECK_EQ(shmctl(id, IPC_STAT, &status), 0);
  CHECK_EQ(status.shm_nattch, 1u);
  CHECK(status.shm_dtime != 0);
  CHECK_EQ(shmctl(id, IPC_RMID, nullptr), 0);
  CHECK_EQ(shmctl(id, IPC_STAT, &status), 0);
  CHECK_EQ(status.shm_perm.mode, unsigned(SHM_DEST | 0640));
  CHECK_EQ(shmdt(second), 0);
  CHECK_ERRNO(shmctl(id, IPC_STAT, &status), EINVAL);
}

PROPERTY(shm_keys) {
  int id = shmget(kKey, 4096, IPC_CREAT | IPC_EXCL | 0600);
  CHECK(id >= 0);
  CHECK_ERRNO(shmget(kKey, 4096, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
  CHECK_EQ(shmget(kKey, 4096, IPC_CREAT | 0600), id);
  CHECK_EQ(shmget(kKey, 0, 0), id);
  CHECK_ERRNO(shmget(kKey, 8192, 0600), EINVAL);
  CHECK_EQ(shmctl(id, IPC_RMID, nullptr), 0);
  CHECK_ERRNO(shmget(kKey, 4096, 0600), ENOENT);
  CHECK_ERRNO(shmget(IPC_PRIVATE, 0, IPC_CREAT | 0600), EINVAL);
}

PROPERTY(shm_key_is_free_while_removed_segment_is_attached) {
  int id = shmget(kKey, 4096, IPC_CREAT | IPC_EXCL | 0600);
  auto* memory = static_cast<char*>(shmat(id, nullptr, 0));
  memory[0] = 'x';
  CHECK_EQ(shmctl(id, IPC_RMID, nullptr), 0);
  int other = shmget(kKey, 4096, IPC_CREAT | IPC_EXCL | 0600);
  CHECK(other >= 0 && other != id);
  auto* again = static_cast<char*>(shmat(id, nullptr, 0));  // by id it can still be attached
  CHECK(again != MAP_FAILED);
  CHECK_EQ(again[0], 'x');
  CHECK_EQ(shmdt(again), 0);
  CHECK_EQ(shmdt(memory), 0);
  CHECK_ERRNO((long)shmat(id, nullptr, 0), EINVAL);
  CHECK_EQ(shmctl(other, IPC_RMID, nullptr), 0);
}

PROPERTY(shm_addresses) {
  int id = shmget(IPC_PRIVATE, 8192, 0600);
  void* place = mmap(nullptr, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto* text = static_cast<char*>(place);
  CHECK_ERRNO((long)shmat(id, text + 1, 0), EINVAL);
  CHECK_ERRNO((long)shmat(id, text, 0), EINVAL);  // taken
  CHECK_ERRNO((long)shmat(id, nullptr, SHM_REMAP), EINVAL);
  CHECK(shmat(id, text + 100, SHM_RND | SHM_REMAP) == text);
  CHECK_ERRNO(shmdt(text + 4096), EINVAL);
  CHECK_EQ(shmdt(text), 0);
  CHECK(shmat(id, text, 0) == text);  // free now
  CHECK_EQ(munmap(text + 4096, 4096), 0);
  CHECK_EQ(shmdt(text), 0);
  CHECK_EQ(shmctl(id, IPC_RMID, nullptr), 0);
  CHECK_ERRNO((long)shmat(id, nullptr, 0), EINVAL);
  CHECK_ERRNO((long)shmat(-1, nullptr, 0), EINVAL);
}

PROPERTY(shm_protection_splits_an_attachment) {
  int id = shmget(IPC_PRIVATE, 3 * 4096, 0600);
  auto* memory = static_cast<char*>(shmat(id, nullptr, 0));
  CHECK_EQ(mprotect(memory + 4096, 4096, PROT_READ), 0);
  shmid_ds status{};
  CHECK_EQ(shmctl(id, IPC_STAT, &status), 0);
  CHECK_EQ(status.shm_nattch, 3u);
  CHECK_EQ(shmdt(memory), 0);
  CHECK_EQ(shmctl(id, IPC_STAT, &status), 0);
  CHECK_EQ(status.shm_nattch, 0u);
  CHECK_EQ(shmctl(id, IPC_RMID, nullptr), 0);
}

PROPERTY(shm_set_lock_and_info) {
  int id = shmget(IPC_PRIVATE, 4096, 0600);
  shmid_ds status{};
  CHECK_EQ(shmctl(id, IPC_STAT, &status), 0);
  status.shm_perm.mode = 0644;
  status.shm_perm.uid = 77;
  CHECK_EQ(shmctl(id, IPC_SET, &status), 0);
  CHECK_EQ(shmctl(id, SHM_LOCK, nullptr), 0);
  CHECK_EQ(shmctl(id, IPC_STAT, &status), 0);
  CHECK_EQ(status.shm_perm.mode, unsigned(SHM_LOCKED | 0644));
  CHECK_EQ(status.shm_perm.uid, 77u);
  CHECK_EQ(status.shm_perm.cuid, getuid());
  CHECK_EQ(shmctl(id, SHM_UNLOCK, nullptr), 0);
  shminfo info{};
  CHECK(shmctl(0, IPC_INFO, reinterpret_cast<shmid_ds*>(&info)) >= 0);
  CHECK_EQ(info.shmmin, 1u);
  CHECK(info.shmmni >= 4096);
  shm_info usage{};
  int highest = shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&usage));
  CHECK(highest >= 0 && usage.used_ids >= 1);
  bool found = false;
  for (int index = 0; index <= highest; ++index) {
    if (shmctl(index, SHM_STAT, &status) == id) found = true;
  }
  CHECK(found);
  CHECK_ERRNO(shmctl(id, 99, &status), EINVAL);
  CHECK_ERRNO(shmctl(-1, IPC_STAT, &status), EINVAL);
  CHECK_ERRNO(shmctl(id, IPC_STAT, reinterpret_cast<shmid_ds*>(8)), EFAULT);
  CHECK_EQ(shmctl(id, IPC_RMID, nullptr), 0);
}

PROPERTY(shm_in_maps_and_proc) {
  int id = shmget(kKey, 4096, IPC_CREAT | 0600);
  void* memory = shmat(id, nullptr, 0);
  char text[4096], needle[64];
  std::snprintf(needle, sizeof needle, "/SYSV%08x (deleted)", unsigned(kKey));
  FILE* maps = fopen("/proc/self/maps", "r");
  bool found = false;
  while (fgets(text, sizeof text, maps)) found |= std::strstr(text, needle) != nullptr;
  fclose(maps);
  CHECK(found);
  FILE* list = fopen("/proc/sysvipc/shm", "r");
  CHECK(list != nullptr);
  found = false;
  while (fgets(text, sizeof text, list)) {
    int key, identifier;
    if (std::sscanf(text, "%d %d", &key, &identifier) == 2 && key == kKey) found = identifier == id;
  }
  fclose(list);
  CHECK(found);
  shmdt(memory);
  CHECK_EQ(shmctl(id, IPC_RMID, nullptr), 0);
}
PROPERTY(shm_is_shared_by_fork_and_counted) {
  int id = shmget(IPC_PRIVATE, 4096, 0600);
  auto* memory = static_cast<volatile char*>(shmat(id, nullptr, 0));
  pid_t child = fork();
  if (child == 0) {
    shmid_ds status{};
    shmctl(id, IPC_STAT, &status);
    memory[0] = 'c';
    _exit(static_cast<int>(status.shm_nattch));
  }
  int status;
  waitpid(child, &status, 0);
  CHECK_EQ(WEXITSTATUS(status), 2);
  CHECK_EQ(memory[0], 'c');
  shmid_ds after{};
  CHECK_EQ(shmctl(id, IPC_STAT, &after), 0);
  CHECK_EQ(after.shm_nattch, 1u);
  CHECK_EQ(after.shm_lpid, child);
  CHECK_EQ(shmctl(id, IPC_RMID, nullptr), 0);
  shmdt(const_cast<char*>(memory));
  CHECK_ERRNO(shmctl(id, IPC_STAT, &after), EINVAL);
}
