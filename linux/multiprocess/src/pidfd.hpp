#pragma once
#include "kernel/io/file.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi {

/// A descriptor that stands for a process, even after its end [pidfd_open(2)].
class PidFile final : public File {
 public:
  PidFile(RefPtr<Process> process, OpenFlags flags) : File(flags), process_(std::move(process)) {}
  PollEvents poll(PollRegistrar* registrar) override;
  [[nodiscard]] bool is_pollable() const override { return true; }
  [[nodiscard]] std::string description() const override { return "anon_inode:[pidfd]"; }
  void* facet(const void* tag) override;

  [[nodiscard]] const RefPtr<Process>& process() const { return process_; }

 private:
  RefPtr<Process> process_;
};

/// Opens one for the caller and writes its number to `address` (CLONE_PIDFD).
Result<void> give_pidfd(const RefPtr<Process>& process, uint64_t address);
/// kBadF unless the caller's descriptor is a pidfd.
Result<RefPtr<Process>> process_of_pidfd(int fd, bool& is_nonblocking);

}  // namespace aril::linux_abi
