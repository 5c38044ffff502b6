// System V semaphores and message queues [sysvipc(7)].
#include <pthread.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "check.hpp"

namespace {

union SemaphoreArgument {
  int value;
  semid_ds* status;
  unsigned short* array;
  seminfo* info;
};

int operate(int set, unsigned short number, short delta, short flags = 0) {
  sembuf operation{number, delta, flags};
  return semop(set, &operation, 1);
}

int value_of(int set, int number) { return semctl(set, number, GETVAL); }

void sleep_ms(int ms) {
  timespec time{ms / 1000, ms % 1000 * 1000000L};
  nanosleep(&time, nullptr);
}

// Waits until `count` threads wait for the semaphore to grow.
bool wait_for_waiters(int set, int number, int count) {
  for (int i = 0; i < 2000; ++i) {
    if (semctl(set, number, GETNCNT) == count) return true;
    sleep_ms(2);
  }
  return false;
}

constexpr key_t kKey = 0x41524c31;

}  // namespace

PROPERTY(sem_values) {
  int set = semget(IPC_PRIVATE, 3, 0600);
  CHECK(set >= 0);
  CHECK_EQ(value_of(set, 0), 0);
  CHECK_EQ(semctl(set, 1, SETVAL, SemaphoreArgument{.value = 5}), 0);
  CHECK_EQ(value_of(set, 1), 5);
  CHECK_ERRNO(semctl(set, 1, SETVAL, SemaphoreArgument{.value = -1}), ERANGE);
  CHECK_ERRNO(semctl(set, 1, SETVAL, SemaphoreArgument{.value = 32768}), ERANGE);
  CHECK_ERRNO(semctl(set, 3, GETVAL), EINVAL);
  unsigned short values[3] = {7, 8, 9};
  CHECK_EQ(semctl(set, 0, SETALL, SemaphoreArgument{.array = values}), 0);
  std::memset(values, 0, sizeof values);
  CHECK_EQ(semctl(set, 0, GETALL, SemaphoreArgument{.array = values}), 0);
  CHECK(values[0] == 7 && values[1] == 8 && values[2] == 9);
  CHECK_EQ(operate(set, 2, -4), 0);
  CHECK_EQ(value_of(set, 2), 5);
  CHECK_EQ(semctl(set, 2, GETPID), getpid());
  CHECK_ERRNO(operate(set, 2, 32767), ERANGE);
  CHECK_ERRNO(operate(set, 3, 1), EFBIG);
  CHECK_ERRNO(operate(set, 2, -6, IPC_NOWAIT), EAGAIN);
  CHECK_ERRNO(operate(set, 2, 0, IPC_NOWAIT), EAGAIN);
  CHECK_EQ(semctl(set, 0, IPC_RMID), 0);
  CHECK_ERRNO(value_of(set, 0), EINVAL);
  CHECK_ERRNO(operate(set, 0, 1), EINVAL);
}

PROPERTY(sem_get_errors) {
  CHECK_ERRNO(semget(IPC_PRIVATE, 0, 0600), EINVAL);
  CHECK_ERRNO(semget(IPC_PRIVATE, -1, 0600), EINVAL);
  int set = semget(kKey, 2, IPC_CREAT | IPC_EXCL | 0600);
  CHECK(set >= 0);
  CHECK_ERRNO(semget(kKey, 3, 0600), EINVAL);
  CHECK_ERRNO(semget(kKey, 2, IPC_CREAT | IPC_EXCL), EEXIST);
  CHECK_EQ(semget(kKey, 0, 0), set);
  CHECK_ERRNO(semop(set, nullptr, 0), EINVAL);
  sembuf operation{0, 1, 0};
  CHECK_ERRNO(semop(set, &operation, 501), E2BIG);
  CHECK_ERRNO(semop(set, nullptr, 1), EFAULT);
  CHECK_EQ(semctl(set, 0, IPC_RMID), 0);
}

PROPERTY(sem_operations_are_atomic) {
  int set = semget(IPC_PRIVATE, 2, 0600);
  CHECK_EQ(operate(set, 0, 3), 0);
  sembuf both[] = {{0, -2, IPC_NOWAIT}, {1, -1, IPC_NOWAIT}};
  CHECK_ERRNO(semop(set, both, 2), EAGAIN);
  CHECK_EQ(value_of(set, 0), 3);
  CHECK_EQ(operate(set, 1, 1), 0);
  CHECK_EQ(semop(set, both, 2), 0);
  CHECK_EQ(value_of(set, 0), 1);
  CHECK_EQ(value_of(set, 1), 0);
  sembuf transfer[] = {{1, 1, 0}, {1, -1, 0}, {1, 0, 0}};
  CHECK_EQ(semop(set, transfer, 3), 0);
  semctl(set, 0, IPC_RMID);
}

PROPERTY(sem_waits_and_wakes) {
  int set = semget(IPC_PRIVATE, 1, 0600);
  std::atomic<int> result{1};
  std::thread waiter([&] { result = operate(set, 0, -2); });
  CHECK(wait_for_waiters(set, 0, 1));
  CHECK_EQ(operate(set, 0, 1), 0);
  CHECK_EQ(semctl(set, 0, GETNCNT), 1);
  CHECK_EQ(operate(set, 0, 1), 0);
  waiter.join();
  CHECK_EQ(result.load(), 0);
  CHECK_EQ(value_of(set, 0), 0);
  semctl(set, 0, IPC_RMID);
}

PROPERTY(sem_wait_for_zero) {
  int set = semget(IPC_PRIVATE, 1, 0600);
  CHECK_EQ(operate(set, 0, 1), 0);
  std::atomic<int> result{1};
  std::thread waiter([&] { result = operate(set, 0, 0); });
  for (int i = 0; i < 2000 && semctl(set, 0, GETZCNT) != 1; ++i) sleep_ms(2);
  CHECK_EQ(semctl(set, 0, GETZCNT), 1);
  CHECK_EQ(semctl(set, 0, GETNCNT), 0);
  CHECK_EQ(operate(set, 0, -1), 0);
  waiter.join();
  CHECK_EQ(result.load(), 0);
  semctl(set, 0, IPC_RMID);
}

PROPERTY(sem_removal_ends_waits) {
  int set = semget(IPC_PRIVATE, 1, 0600);
  std::atomic<int> error{0};
  std::thread waiter([&] { error = operate(set, 0, -1) == -1 ? errno : 0; });
  CHECK(wait_for_waiters(set, 0, 1));
  CHECK_EQ(semctl(set, 0, IPC_RMID), 0);
  waiter.join();
  CHECK_EQ(error.load(), EIDRM);
}

PROPERTY(sem_time_out) {
  int set = semget(IPC_PRIVATE, 1, 0600);
  sembuf operation{0, -1, 0};
  timespec timeout{0, 20000000}, bad{0, 1000000000};
  CHECK_ERRNO(semtimedop(set, &operation, 1, &timeout), EAGAIN);
  CHECK_ERRNO(semtimedop(set, &operation, 1, &bad), EINVAL);
  CHECK_EQ(semctl(set, 0, GETNCNT), 0);
  semctl(set, 0, IPC_RMID);
}

PROPERTY(sem_interrupted_even_with_restart) {
  int set = semget(IPC_PRIVATE, 1, 0600);
  struct sigaction action{};
  action.sa_handler = [](int) {};
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  std::atomic<int> error{0};
  std::thread waiter([&] { error = operate(set, 0, -1) == -1 ? errno : 0; });
  CHECK(wait_for_waiters(set, 0, 1));
  pthread_kill(waiter.native_handle(), SIGUSR1);
  waiter.join();
  CHECK_EQ(error.load(), EINTR);
  semctl(set, 0, IPC_RMID);
}

PROPERTY(sem_many_threads_count_right) {
  int set = semget(IPC_PRIVATE, 2, 0600);
  CHECK_EQ(operate(set, 0, 1), 0);
  int shared = 0;
  std::thread threads[4];
  for (std::thread& thread : threads) {
    thread = std::thread([&] {
      for (int i = 0; i < 200; ++i) {
        sembuf take[] = {{0, -1, SEM_UNDO}};
        while (semop(set, take, 1) != 0) {}
        int copy = shared;
        sched_yield();
        shared = copy + 1;
        sembuf give[] = {{0, 1, SEM_UNDO}, {1, 1, 0}};
        semop(set, give, 2);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(shared, 800);
  CHECK_EQ(value_of(set, 1), 800);
  semctl(set, 0, IPC_RMID);
}

PROPERTY(sem_status_and_info) {
  int set = semget(IPC_PRIVATE, 4, 0620);
  semid_ds status{};
  CHECK_EQ(semctl(set, 0, IPC_STAT, SemaphoreArgument{.status = &status}), 0);
  CHECK_EQ(status.sem_nsems, 4u);
  CHECK_EQ(status.sem_otime, 0);
  CHECK(status.sem_ctime != 0);
  CHECK_EQ(status.sem_perm.mode, 0620);
  CHECK_EQ(operate(set, 0, 1), 0);
  CHECK_EQ(semctl(set, 0, IPC_STAT, SemaphoreArgument{.status = &status}), 0);
  CHECK(status.sem_otime != 0);
  seminfo info{};
  CHECK(semctl(0, 0, IPC_INFO, SemaphoreArgument{.info = &info}) >= 0);
  CHECK_EQ(info.semvmx, 32767);
  CHECK_EQ(info.semmsl, 32000);
  CHECK_EQ(info.semopm, 500);
  CHECK_ERRNO(semctl(set, 0, 77), EINVAL);
  semctl(set, 0, IPC_RMID);
}

struct Text {
  long type;
  char text[64];
};

PROPERTY(msg_order_and_types) {
  int queue = msgget(IPC_PRIVATE, 0600);
  CHECK(queue >= 0);
  for (long type : {5, 3, 5, 1}) {
    Text message{type, ""};
    std::snprintf(message.text, sizeof message.text, "type %ld", type);
    CHECK_EQ(msgsnd(queue, &message, 8, 0), 0);
  }
  msqid_ds status{};
  CHECK_EQ(msgctl(queue, IPC_STAT, &status), 0);
  CHECK_EQ(status.msg_qnum, 4u);
  CHECK_EQ(status.msg_cbytes, 32u);
  CHECK_EQ(status.msg_qbytes, 16384u);
  CHECK_EQ(status.msg_lspid, getpid());
  Text got{};
  CHECK_EQ(msgrcv(queue, &got, 64, 3, 0), 8);
  CHECK_EQ(got.type, 3);
  CHECK(std::strcmp(got.text, "type 3") == 0);
  CHECK_EQ(msgrcv(queue, &got, 64, -4, 0), 8);
  CHECK_EQ(got.type, 1);
  CHECK_ERRNO(msgrcv(queue, &got, 64, -4, IPC_NOWAIT), ENOMSG);
  CHECK_ERRNO(msgrcv(queue, &got, 64, 5, IPC_NOWAIT | MSG_EXCEPT), ENOMSG);
  CHECK_ERRNO(msgrcv(queue, &got, 4, 0, 0), E2BIG);
  CHECK_EQ(msgrcv(queue, &got, 4, 0, MSG_NOERROR), 4);
  CHECK_EQ(msgrcv(queue, &got, 64, 0, 0), 8);
  CHECK_ERRNO(msgrcv(queue, &got, 64, 0, IPC_NOWAIT), ENOMSG);
  CHECK_EQ(msgctl(queue, IPC_RMID, nullptr), 0);
  CHECK_ERRNO(msgsnd(queue, &got, 1, 0), EINVAL);
}

PROPERTY(msg_errors) {
  int queue = msgget(kKey, IPC_CREAT | IPC_EXCL | 0600);
  CHECK(queue >= 0);
  CHECK_ERRNO(msgget(kKey, IPC_CREAT | IPC_EXCL), EEXIST);
  Text message{0, ""};
  CHECK_ERRNO(msgsnd(queue, &message, 1, 0), EINVAL);
  message.type = 1;
  CHECK_ERRNO(msgsnd(queue, &message, 8193, 0), EINVAL);
  CHECK_ERRNO(msgsnd(queue, nullptr, 1, 0), EFAULT);
  CHECK_EQ(msgsnd(queue, &message, 0, 0), 0);
  CHECK_EQ(msgrcv(queue, &message, 0, 0, 0), 0);
  CHECK_EQ(msgctl(queue, IPC_RMID, nullptr), 0);
  CHECK_ERRNO(msgget(kKey, 0), ENOENT);
}

PROPERTY(msg_full_queue_blocks) {
  int queue = msgget(IPC_PRIVATE, 0600);
  msqid_ds status{};
  CHECK_EQ(msgctl(queue, IPC_STAT, &status), 0);
  status.msg_qbytes = 100;
  CHECK_EQ(msgctl(queue, IPC_SET, &status), 0);
  Text message{1, "x"};
  CHECK_EQ(msgsnd(queue, &message, 60, 0), 0);
  CHECK_ERRNO(msgsnd(queue, &message, 60, IPC_NOWAIT), EAGAIN);
  std::atomic<bool> sent{false};
  std::thread sender([&] {
    Text more{2, "y"};
    sent = msgsnd(queue, &more, 60, 0) == 0;
  });
  sleep_ms(20);
  CHECK(!sent);
  CHECK_EQ(msgrcv(queue, &message, 64, 0, 0), 60);
  sender.join();
  CHECK(sent);
  CHECK_EQ(msgrcv(queue, &message, 64, 0, 0), 60);
  CHECK_EQ(message.type, 2);
  msgctl(queue, IPC_RMID, nullptr);
}

PROPERTY(msg_removal_ends_waits) {
  int queue = msgget(IPC_PRIVATE, 0600);
  std::atomic<int> error{0};
  std::thread receiver([&] {
    Text message;
    error = msgrcv(queue, &message, 64, 0, 0) == -1 ? errno : 0;
  });
  sleep_ms(20);
  CHECK_EQ(msgctl(queue, IPC_RMID, nullptr), 0);
  receiver.join();
  CHECK_EQ(error.load(), EIDRM);
}

PROPERTY(ids_are_not_used_again_at_once) {
  int first = msgget(IPC_PRIVATE, 0600);
  msgctl(first, IPC_RMID, nullptr);
  int second = msgget(IPC_PRIVATE, 0600);
  CHECK(second != first);
  msgctl(second, IPC_RMID, nullptr);
}
PROPERTY(sem_undo_at_the_end_of_a_process) {
  int set = semget(IPC_PRIVATE, 2, 0600);
  CHECK_EQ(operate(set, 0, 5), 0);
  pid_t child = fork();
  if (child == 0) {
    operate(set, 0, -2, SEM_UNDO);
    operate(set, 1, 3, SEM_UNDO);
    operate(set, 1, 4);
    _exit(value_of(set, 0) * 10 + value_of(set, 1));
  }
  int status;
  waitpid(child, &status, 0);
  CHECK_EQ(WEXITSTATUS(status), 37);
  CHECK_EQ(value_of(set, 0), 5);
  CHECK_EQ(value_of(set, 1), 4);
  CHECK_EQ(semctl(set, 0, GETPID), child);
  semctl(set, 0, IPC_RMID);
}

PROPERTY(sem_undo_wakes_who_waits) {
  int set = semget(IPC_PRIVATE, 1, 0600);
  CHECK_EQ(operate(set, 0, 1), 0);
  pid_t child = fork();
  if (child == 0) {
    operate(set, 0, -1, SEM_UNDO);
    while (semctl(set, 0, GETNCNT) == 0) sleep_ms(2);
    _exit(0);  // without giving it back
  }
  while (value_of(set, 0) != 0) sleep_ms(2);
  CHECK_EQ(operate(set, 0, -1), 0);
  waitpid(child, nullptr, 0);
  semctl(set, 0, IPC_RMID);
}

PROPERTY(tunables) {
  auto first_line = [](const char* name) -> std::string {
    char text[256] = "";
    FILE* file = fopen(name, "r");
    if (file == nullptr) return "";
    fgets(text, sizeof text, file);
    fclose(file);
    return text;
  };
  CHECK(first_line("/proc/sys/kernel/shmmni") == "4096\n");
  CHECK(first_line("/proc/sys/kernel/msgmax") == "8192\n");
  CHECK(first_line("/proc/sys/kernel/sem") == "32000\t1024000000\t500\t32000\n");
  CHECK(first_line("/proc/sys/kernel/shmmax") == "18446744073692774399\n");
  CHECK(!first_line("/proc/sysvipc/sem").empty());
  CHECK(!first_line("/proc/sysvipc/msg").empty());
}
