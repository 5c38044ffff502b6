#include "kernel/io/file.hpp"

namespace aril {

Result<size_t> File::read(IoBuffer&) { return fail(Errno::kInval); }
Result<size_t> File::write(IoBuffer&) { return fail(Errno::kInval); }
Result<size_t> File::read_at(IoBuffer&, uint64_t) { return fail(Errno::kSPipe); }
Result<size_t> File::write_at(IoBuffer&, uint64_t) { return fail(Errno::kSPipe); }
Result<uint64_t> File::seek(int64_t, SeekOrigin) { return fail(Errno::kSPipe); }

PollEvents File::poll(PollRegistrar*) { return kReadable | kWritable; }

Result<int64_t> File::ioctl(uint32_t, uint64_t) { return fail(Errno::kNoTty); }
Result<FileStatus> File::status() { return FileStatus{.mode = 0600}; }
Result<RefPtr<MemoryObject>> File::memory_object() { return fail(Errno::kNoDev); }
Result<void> File::sync() { return fail(Errno::kInval); }

Result<void> File::set_flags(OpenFlags flags) {
  using enum OpenFlags;
  constexpr OpenFlags kChangeable = kAppend | kNonBlock | kAsync | kDirect | kNoAtime;
  flags_ = (flags_ & ~kChangeable) | (flags & kChangeable);
  return {};
}

}  // namespace aril
