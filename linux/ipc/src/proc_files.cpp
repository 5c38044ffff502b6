#include "linux/proc/proc_files.hpp"

#include <charconv>

#include "fs/procfs/procfs.hpp"
#include "limits.hpp"
#include "message_queue.hpp"
#include "semaphore_set.hpp"
#include "shared_segment.hpp"

/// /proc/sysvipc and the tunables in /proc/sys/kernel [proc(5)].
namespace aril::linux_abi::ipc {
namespace {

using synthetic::append_format;
using Value = std::atomic<uint64_t>;

unsigned long long seconds(int64_t value) { return static_cast<unsigned long long>(value); }
unsigned long long number(const Value& value) { return value.load(); }

Result<void> list_segments(std::string& out) {
  out +=
      "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid"
      "      atime      dtime      ctime                   rss                  swap\n";
  size_t index = 0;
  for (RefPtr<SharedSegment> segment; (segment = shared_segments().next(index)); ++index) {
    unsigned long resident = segment->resident_pages() * kPageSize;
    LockGuard hold(segment->ipc.mutex);
    const Permissions& who = segment->ipc.permissions;
    append_format(out,
                  "%10d %10d  %4o %21lu %5d %5d  %5lu %5u %5u %5u %5u %10llu %10llu %10llu %21lu "
                  "%21d\n",
                  who.key, segment->ipc.id, who.mode, static_cast<unsigned long>(segment->size()),
                  segment->creator_pid, segment->last_pid,
                  static_cast<unsigned long>(segment->attached), who.uid, who.gid, who.creator_uid,
                  who.creator_gid, seconds(segment->attached_at), seconds(segment->detached_at),
                  seconds(segment->changed_at), resident, 0);
  }
  return {};
}

Result<void> list_sets(std::string& out) {
  out += "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
  size_t index = 0;
  for (RefPtr<SemaphoreSet> set; (set = semaphore_sets().next(index)); ++index) {
    LockGuard hold(set->ipc.mutex);
    const Permissions& who = set->ipc.permissions;
    append_format(out, "%10d %10d  %4o %10zu %5u %5u %5u %5u %10llu %10llu\n", who.key, set->ipc.id,
                  who.mode, set->count(), who.uid, who.gid, who.creator_uid, who.creator_gid,
                  seconds(set->operated_at), seconds(set->changed_at));
  }
  return {};
}

Result<void> list_queues(std::string& out) {
  out +=
      "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid"
      "      stime      rtime      ctime\n";
  size_t index = 0;
  for (RefPtr<MessageQueue> queue; (queue = message_queues().next(index)); ++index) {
    LockGuard hold(queue->ipc.mutex);
    const Permissions& who = queue->ipc.permissions;
    append_format(out, "%10d %10d  %4o  %10lu %10lu %5d %5d %5u %5u %5u %5u %10llu %10llu %10llu\n",
                  who.key, queue->ipc.id, who.mode, static_cast<unsigned long>(queue->bytes),
                  static_cast<unsigned long>(queue->count), queue->sender_pid, queue->receiver_pid,
                  who.uid, who.gid, who.creator_uid, who.creator_gid, seconds(queue->sent_at),
                  seconds(queue->received_at), seconds(queue->changed_at));
  }
  return {};
}

/// Reads as many numbers as there are values, all or none. kInval.
Result<void> store(std::string_view text, std::span<Value* const> values, uint64_t maximum) {
  std::array<uint64_t, 4> numbers{};
  for (size_t i = 0; i < values.size(); ++i) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), numbers[i]);
    if (error != std::errc() || numbers[i] > maximum) return fail(Errno::kInval);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
  }
  for (size_t i = 0; i < values.size(); ++i) values[i]->store(numbers[i]);
  return {};
}

void add_tunable(procfs::Procfs& procfs, std::string_view name, Value& value, uint64_t maximum) {
  procfs.add_file(
      name,
      [&value](std::string& out) -> Result<void> {
        append_format(out, "%llu\n", static_cast<unsigned long long>(value.load()));
        return {};
      },
      [&value, maximum](std::string_view text) {
        Value* values[] = {&value};
        return store(text, values, maximum);
      });
}

void add_files(procfs::Procfs& procfs) {
  constexpr uint64_t kAny = ~uint64_t{0}, kInt = 0x7fffffff, kObjects = 32768;
  Limits& all = limits();
  procfs.add_file("sysvipc/shm", list_segments);
  procfs.add_file("sysvipc/sem", list_sets);
  procfs.add_file("sysvipc/msg", list_queues);
  add_tunable(procfs, "sys/kernel/shmmax", all.segment_bytes, kAny);
  add_tunable(procfs, "sys/kernel/shmall", all.all_segments_pages, kAny);
  add_tunable(procfs, "sys/kernel/shmmni", all.segments, kObjects);
  add_tunable(procfs, "sys/kernel/msgmax", all.message_bytes, kInt);
  add_tunable(procfs, "sys/kernel/msgmnb", all.queue_bytes, kInt);
  add_tunable(procfs, "sys/kernel/msgmni", all.queues, kObjects);
  procfs.add_file(
      "sys/kernel/sem",
      [&all](std::string& out) -> Result<void> {
        append_format(out, "%llu\t%llu\t%llu\t%llu\n", number(all.semaphores_per_set),
                      number(all.all_semaphores), number(all.operations), number(all.sets));
        return {};
      },
      [&all](std::string_view text) {
        Value* values[] = {&all.semaphores_per_set, &all.all_semaphores, &all.operations,
                           &all.sets};
        return store(text, values, kInt);
      });
}
ARIL_PROC_FILES(add_files);

}  // namespace
}  // namespace aril::linux_abi::ipc
