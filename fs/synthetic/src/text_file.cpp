#include <algorithm>
#include <atomic>

#include "fs/synthetic/synthetic.hpp"
#include "fs/vfs/open_file.hpp"

namespace aril::synthetic {
namespace {

class OpenTextFile final : public vfs::NodeFile {
 public:
  OpenTextFile(const vfs::Path& path, OpenFlags flags)
      : NodeFile(path, flags), file_(static_cast<TextFile&>(path.inode())) {}

  Result<size_t> read(IoBuffer& buffer) override {
    LockGuard guard(mutex_);
    size_t count = ARIL_TRY(read_locked(buffer, position_));
    position_ += count;
    return count;
  }
  Result<size_t> read_at(IoBuffer& buffer, uint64_t offset) override {
    LockGuard guard(mutex_);
    return read_locked(buffer, offset);
  }

  Result<size_t> write(IoBuffer& buffer) override {
    static constexpr size_t kWriteLimit = 4096;
    if (!is_writable()) return fail(Errno::kBadF);
    std::string text(std::min(buffer.remaining(), kWriteLimit), '\0');
    size_t count = ARIL_TRY(buffer.copy_in(std::as_writable_bytes(std::span(text))));
    text.resize(count);
    ARIL_TRY(file_.store(text));
    return count;
  }
  Result<size_t> write_at(IoBuffer& buffer, uint64_t) override { return write(buffer); }

  Result<uint64_t> seek(int64_t offset, SeekOrigin origin) override {
    // Without the mutex: /proc/self/fdinfo asks, in the middle of making its own contents.
    if (origin == SeekOrigin::kCurrent && offset == 0) return position_.load();
    LockGuard guard(mutex_);
    uint64_t base = 0;
    if (origin == SeekOrigin::kCurrent) base = position_;
    if (origin == SeekOrigin::kEnd) base = text_.size();
    if (origin == SeekOrigin::kData || origin == SeekOrigin::kHole) return fail(Errno::kInval);
    int64_t target;
    if (__builtin_add_overflow(static_cast<int64_t>(base), offset, &target) || target < 0)
      return fail(Errno::kInval);
    position_ = static_cast<uint64_t>(target);
    return static_cast<uint64_t>(target);
  }

 private:
  Result<size_t> read_locked(IoBuffer& buffer, uint64_t offset) {
    if (!is_readable()) return fail(Errno::kBadF);
    if (offset == 0 || !generated_) {
      std::string text;
      ARIL_TRY(file_.generate(text));
      text_ = std::move(text);
      generated_ = true;
    }
    if (offset >= text_.size()) return size_t{0};
    return buffer.copy_out(std::as_bytes(std::span(text_)).subspan(offset));
  }

  const TextFile& file_;  // kept by the path
  Mutex mutex_{LockRank::kGenerated};
  std::string text_;  // all of one moment
  bool generated_ = false;
  std::atomic<uint64_t> position_{0};  // changed under the mutex
};

}  // namespace

Result<RefPtr<File>> TextFile::open(const vfs::Path& path, OpenFlags flags) {
  return ARIL_TRY(try_make_ref<OpenTextFile>(path, flags));
}

}  // namespace aril::synthetic
