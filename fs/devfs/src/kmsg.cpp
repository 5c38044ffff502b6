#include <array>

#include "devices.hpp"
#include "kernel/log/log.hpp"

namespace aril::devfs {
namespace {

/// /dev/kmsg [Linux Documentation/ABI/testing/dev-kmsg]: each read gives one record
/// "priority,sequence,microseconds,-;text\n", each write is logged as one line.
class KmsgFile final : public DeviceFile {
 public:
  using DeviceFile::DeviceFile;

  Result<size_t> read(IoBuffer& buffer) override {
    static constexpr size_t kLineLimit = 512;
    std::array<char, kLineLimit> line;
    std::array<char, kLineLimit + 64> record;
    LockGuard guard(mutex_);
    LogLine entry;
    // There is nothing that tells of new lines, so a reader never waits.
    if (!read_log(sequence_, line, entry)) return fail(Errno::kAgain);
    std::string_view text =
        format_to(record, "%u,%llu,%lld,-;%.*s\n", static_cast<unsigned>(entry.level),
                  static_cast<unsigned long long>(entry.sequence),
                  static_cast<long long>(entry.time_ns / 1000), static_cast<int>(entry.text.size()),
                  entry.text.data());
    if (buffer.remaining() < text.size()) return fail(Errno::kInval);
    size_t count = ARIL_TRY(buffer.copy_out(std::as_bytes(std::span(text))));
    sequence_ = entry.sequence + 1;
    return count;
  }

  Result<size_t> write(IoBuffer& buffer) override {
    std::array<char, 512> line;
    size_t total = buffer.remaining();
    size_t count = ARIL_TRY(buffer.copy_in(std::as_writable_bytes(std::span(line))));
    std::string_view text(line.data(), count);
    // "<N>" in front is a priority; it is not ours to raise.
    if (text.starts_with('<') && text.find('>') != text.npos)
      text.remove_prefix(text.find('>') + 1);
    while (text.ends_with('\n')) text.remove_suffix(1);
    ARIL_LOG_INFO("kmsg", "%.*s", static_cast<int>(text.size()), text.data());
    swallow(buffer);
    return total;
  }

 private:
  Mutex mutex_{LockRank::kFilePosition};
  uint64_t sequence_ = 0;
};

}  // namespace

Result<RefPtr<File>> open_kmsg(const vfs::Path& path, OpenFlags flags) {
  return ARIL_TRY(try_make_ref<KmsgFile>(path, flags));
}

}  // namespace aril::devfs
