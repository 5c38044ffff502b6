#include "linux/proc/proc_files.hpp"

#include <charconv>

#include "fs/procfs/procfs.hpp"
#include "limits.hpp"

/// The tunables in /proc/sys/fs/mqueue [mq_overview(7)].
namespace aril::linux_abi::mqueue {
namespace {

using Value = std::atomic<uint64_t>;

void add_tunable(procfs::Procfs& procfs, std::string_view name, Value& value, uint64_t least,
                 uint64_t most) {
  procfs.add_file(
      name,
      [&value](std::string& out) -> Result<void> {
        synthetic::append_format(out, "%llu\n", static_cast<unsigned long long>(value.load()));
        return {};
      },
      [&value, least, most](std::string_view text) -> Result<void> {
        uint64_t number = 0;
        auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (error != std::errc() || number < least || number > most) return fail(Errno::kInval);
        value.store(number);
        return {};
      });
}

void add_files(procfs::Procfs& procfs) {
  constexpr uint64_t kLeastBytes = 128, kManyQueues = 1 << 20;
  Limits& all = limits();
  add_tunable(procfs, "sys/fs/mqueue/msg_max", all.messages, 1, kHardMessages);
  add_tunable(procfs, "sys/fs/mqueue/msgsize_max", all.message_bytes, kLeastBytes,
              kHardMessageBytes);
  add_tunable(procfs, "sys/fs/mqueue/queues_max", all.queues, 0, kManyQueues);
  add_tunable(procfs, "sys/fs/mqueue/msg_default", all.default_messages, 1, kHardMessages);
  add_tunable(procfs, "sys/fs/mqueue/msgsize_default", all.default_bytes, kLeastBytes,
              kHardMessageBytes);
}
ARIL_PROC_FILES(add_files);

}  // namespace
}  // namespace aril::linux_abi::mqueue
