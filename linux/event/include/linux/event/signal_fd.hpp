#pragma once
#include "kernel/io/file.hpp"
#include "linux/abi/signal.hpp"

namespace aril::linux_abi {

/// Pending signals as data [signalfd(2)]: those of whoever reads, his task's and his process's.
/// Wakes on those of the process that made it.
class SignalFd final : public File {
 public:
  SignalFd(OpenFlags flags, SignalSet mask) : File(flags | OpenFlags::kReadWrite) {
    set_mask(mask);
  }
  void set_mask(SignalSet mask);

  Result<size_t> read(IoBuffer& buffer) override;
  PollEvents poll(PollRegistrar* registrar) override;
  [[nodiscard]] bool is_pollable() const override { return true; }
  Result<FileStatus> status() override {
    return FileStatus{.device = 14, .inode = 1, .mode = 0600};
  }
  [[nodiscard]] std::string description() const override { return "anon_inode:[signalfd]"; }
  void* facet(const void* tag) override;

 private:
  [[nodiscard]] SignalSet mask() const { return SignalSet(mask_.load(std::memory_order_relaxed)); }
  std::atomic<uint64_t> mask_{0};
};

/// The signalfd behind a file, or null.
SignalFd* as_signal_fd(File& file);

}  // namespace aril::linux_abi
