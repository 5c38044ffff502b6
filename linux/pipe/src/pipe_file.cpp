#include "kernel/log/log.hpp"
#include "linux/pipe/pipe.hpp"

namespace aril::linux_abi {

const char kPipeFacet = 0;

namespace {
constexpr uint64_t kPipeDevice = 13;
constexpr uint32_t kFifoMode = 0010000 | 0600;
constinit std::atomic<uint64_t> g_next_inode{1};

Pipe::Blocking blocking_of(const File& file) {
  return file.is_nonblocking() ? Pipe::Blocking::kNo : Pipe::Blocking::kYes;
}
}  // namespace

PipeEnd::PipeEnd(RefPtr<Pipe> pipe, Pipe::Side side, OpenFlags flags, uint64_t inode)
    : File(flags), pipe_(std::move(pipe)), side_(side), inode_(inode) {
  side_ == Pipe::Side::kReader ? pipe_->add_reader() : pipe_->add_writer();
}

PipeEnd::~PipeEnd() {
  side_ == Pipe::Side::kReader ? pipe_->remove_reader() : pipe_->remove_writer();
}

Result<size_t> PipeEnd::read(IoBuffer& buffer) {
  if (side_ != Pipe::Side::kReader) return fail(Errno::kBadF);
  return pipe_->read(buffer, blocking_of(*this));
}

Result<size_t> PipeEnd::write(IoBuffer& buffer) {
  if (side_ != Pipe::Side::kWriter) return fail(Errno::kBadF);
  return pipe_->write(buffer, blocking_of(*this));
}

Result<FileStatus> PipeEnd::status() {
  return FileStatus{.device = kPipeDevice, .inode = inode_, .mode = kFifoMode};
}

std::string PipeEnd::description() const {
  char text[32];
  return std::string(format_to(text, "pipe:[%lu]", inode_));
}

void* PipeEnd::facet(const void* tag) { return tag == &kPipeFacet ? pipe_.get() : nullptr; }

Pipe* as_pipe(File& file) { return static_cast<Pipe*>(file.facet(&kPipeFacet)); }

Result<std::pair<RefPtr<File>, RefPtr<File>>> make_pipe(OpenFlags flags) {
  auto pipe = ARIL_TRY(Pipe::create());
  uint64_t inode = g_next_inode.fetch_add(1, std::memory_order_relaxed);
  RefPtr<File> reader = ARIL_TRY(
      try_make_ref<PipeEnd>(pipe, Pipe::Side::kReader, flags | OpenFlags::kReadOnly, inode));
  RefPtr<File> writer = ARIL_TRY(
      try_make_ref<PipeEnd>(pipe, Pipe::Side::kWriter, flags | OpenFlags::kWriteOnly, inode));
  return std::pair(std::move(reader), std::move(writer));
}

}  // namespace aril::linux_abi
