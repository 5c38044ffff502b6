#pragma once
#include <cstdint>

#include "kernel/io/file.hpp"

namespace aril::linux_abi {

/// A counter that wakes its readers [eventfd(2)].
class EventFd final : public File {
 public:
  enum class Mode : uint8_t { kCounter, kSemaphore };
  EventFd(OpenFlags flags, uint64_t initial, Mode mode)
      : File(flags | OpenFlags::kReadWrite), count_(initial), mode_(mode) {}

  Result<size_t> read(IoBuffer& buffer) override;
  Result<size_t> write(IoBuffer& buffer) override;
  PollEvents poll(PollRegistrar* registrar) override;
  [[nodiscard]] bool is_pollable() const override { return true; }
  Result<FileStatus> status() override {
    return FileStatus{.device = 14, .inode = 1, .mode = 0600};
  }
  [[nodiscard]] std::string description() const override { return "anon_inode:[eventfd]"; }
  void* facet(const void* tag) override;

 private:
  static constexpr uint64_t kMaximum = ~uint64_t{0} - 1;
  bool take(uint64_t& value);
  bool add(uint64_t value);

  SpinLock lock_{LockRank::kSpinLeaf};
  uint64_t count_;
  const Mode mode_;
  WaitQueue queue_;
};

bool is_event_fd(File& file);

}  // namespace aril::linux_abi
