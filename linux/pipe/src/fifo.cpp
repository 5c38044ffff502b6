#include "fs/vfs/devices.hpp"
#include "fs/vfs/inode.hpp"
#include "fs/vfs/open_file.hpp"
#include "linux/pipe/pipe.hpp"

namespace aril::linux_abi {

namespace {

/// The pipe of a FIFO lives with its inode while any name or open end keeps that alive.
class FifoAttachment final : public vfs::Attachment {
 public:
  explicit FifoAttachment(RefPtr<Pipe> made) : pipe(std::move(made)) {}
  const RefPtr<Pipe> pipe;
};

/// An open end of a FIFO.
class FifoFile final : public vfs::NodeFile {
 public:
  FifoFile(vfs::Path path, OpenFlags flags, RefPtr<Pipe> pipe, Pipe::Side side)
      : NodeFile(std::move(path), flags), pipe_(std::move(pipe)), side_(side) {
    if (side_ != Pipe::Side::kWriter) pipe_->add_reader();
    if (side_ != Pipe::Side::kReader) pipe_->add_writer();
  }
  ~FifoFile() override {
    if (side_ != Pipe::Side::kWriter) pipe_->remove_reader();
    if (side_ != Pipe::Side::kReader) pipe_->remove_writer();
  }
  Result<size_t> read(IoBuffer& buffer) override {
    if (side_ == Pipe::Side::kWriter) return fail(Errno::kBadF);
    return pipe_->read(buffer, blocking());
  }
  Result<size_t> write(IoBuffer& buffer) override {
    if (side_ == Pipe::Side::kReader) return fail(Errno::kBadF);
    return pipe_->write(buffer, blocking());
  }
  Result<size_t> read_at(IoBuffer&, uint64_t) override { return fail(Errno::kSPipe); }
  Result<size_t> write_at(IoBuffer&, uint64_t) override { return fail(Errno::kSPipe); }
  Result<uint64_t> seek(int64_t, SeekOrigin) override { return fail(Errno::kSPipe); }
  PollEvents poll(PollRegistrar* registrar) override { return pipe_->poll(side_, registrar); }
  [[nodiscard]] bool is_pollable() const override { return true; }
  Result<int64_t> ioctl(uint32_t request, uint64_t argument) override {
    return pipe_->ioctl(request, argument);
  }
  [[nodiscard]] bool raises_broken_pipe() const override { return true; }
  void* facet(const void* tag) override {
    return tag == &kPipeFacet ? pipe_.get() : NodeFile::facet(tag);
  }

 private:
  [[nodiscard]] Pipe::Blocking blocking() const {
    return is_nonblocking() ? Pipe::Blocking::kNo : Pipe::Blocking::kYes;
  }
  RefPtr<Pipe> pipe_;
  Pipe::Side side_;
};

Result<RefPtr<Pipe>> pipe_of(vfs::Inode& inode) {
  RefPtr<vfs::Attachment> attachment = inode.attachment();
  if (!attachment) {
    auto pipe = ARIL_TRY(Pipe::create());
    attachment = inode.attach_if_none(ARIL_TRY(try_make_ref<FifoAttachment>(std::move(pipe))));
  }
  // Nobody else attaches to an inode of type FIFO.
  return static_cast<FifoAttachment&>(*attachment).pipe;
}

/// [fifo(7)]: an open waits for the other side; non-blocking, the reader need not and the writer
/// fails without a reader; for both reading and writing nobody waits.
Result<RefPtr<File>> open_fifo(const vfs::Path& path, OpenFlags flags) {
  RefPtr<Pipe> pipe = ARIL_TRY(pipe_of(path.inode()));
  bool nonblocking = has(flags, OpenFlags::kNonBlock);
  auto make = [&](Pipe::Side side) { return try_make_ref<FifoFile>(path, flags, pipe, side); };
  switch (flags & OpenFlags::kAccessMask) {
    case OpenFlags::kReadOnly: {
      auto file = ARIL_TRY(make(Pipe::Side::kReader));
      if (!nonblocking) ARIL_TRY(pipe->wait_for_writer());
      return file;
    }
    case OpenFlags::kWriteOnly: {
      if (nonblocking && !pipe->has_reader()) return fail(Errno::kNxIo);
      auto file = ARIL_TRY(make(Pipe::Side::kWriter));
      if (!nonblocking) ARIL_TRY(pipe->wait_for_reader());
      return file;
    }
    default:
      return ARIL_TRY(make(Pipe::Side::kBoth));
  }
}

}  // namespace

void register_fifo() { vfs::register_special_opener(vfs::mode::kFifo, open_fifo); }

}  // namespace aril::linux_abi
