#pragma once
#include <array>
#include <atomic>

#include "kernel/io/devices.hpp"
#include "kernel/io/file.hpp"
#include "kernel/sched/mutex.hpp"

namespace aril::linux_abi {

/// Bytes from the host until an announced end. Owns the device's receive callback. Any thread;
/// lives for ever.
class HostInput {
 public:
  /// `device` null: at its end from the start.
  explicit HostInput(CharDevice* device);

  /// What has come, without waiting. 0 with `at_end` when no more will, else kAgain.
  Result<size_t> read(std::span<std::byte> out, bool& at_end);
  /// The end is after `count` bytes in all.
  void end_after(uint64_t count);
  [[nodiscard]] bool is_readable();
  WaitQueue& queue() { return queue_; }

 private:
  void fill_locked();
  [[nodiscard]] bool at_end_locked() const {
    return device_ == nullptr || taken_ >= end_.load(std::memory_order_relaxed);
  }

  CharDevice* const device_;
  Mutex mutex_{LockRank::kConsole};
  std::array<std::byte, 4096> buffer_;
  size_t first_ = 0, count_ = 0;
  uint64_t taken_ = 0;  // bytes that readers got
  std::atomic<uint64_t> end_{~uint64_t{0}};
  WaitQueue queue_;
};

/// Standard input that is no terminal.
class HostInputFile final : public File {
 public:
  explicit HostInputFile(HostInput& input) : File(OpenFlags::kReadOnly), input_(input) {}
  Result<size_t> read(IoBuffer& buffer) override;
  PollEvents poll(PollRegistrar* registrar) override;
  [[nodiscard]] bool is_pollable() const override { return true; }
  Result<FileStatus> status() override;
  [[nodiscard]] std::string description() const override { return "pipe:[1]"; }

 private:
  HostInput& input_;
};

/// Standard output or error that is no terminal. A write returns when the host has the bytes, so
/// that nothing is lost when the machine stops.
class HostOutputFile final : public File {
 public:
  explicit HostOutputFile(CharDevice& device) : File(OpenFlags::kWriteOnly), device_(device) {}
  Result<size_t> write(IoBuffer& buffer) override;
  PollEvents poll(PollRegistrar*) override { return kWritable; }
  [[nodiscard]] bool is_pollable() const override { return true; }
  Result<FileStatus> status() override;
  [[nodiscard]] std::string description() const override { return "pipe:[2]"; }

 private:
  CharDevice& device_;
};

}  // namespace aril::linux_abi
