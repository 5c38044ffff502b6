#pragma once
#include <cstdint>

#include "arch/trap_frame.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"

namespace aril::linux_abi {

/// SECCOMP_MODE_*.
enum class SeccompMode : uint8_t { kDisabled = 0, kStrict = 1, kFilter = 2 };

/// Decides about a task's system calls [seccomp(2)]; inherited by clone and kept over execve.
/// Immutable.
class SystemCallFilter : public RefCounted {
 public:
  virtual ~SystemCallFilter() = default;
  [[nodiscard]] virtual SeccompMode mode() const = 0;
  /// False when the call in `frame` is not to be made; then `result` is what it returns. May not
  /// come back.
  virtual bool judge(arch::TrapFrame& frame, int64_t& result) const = 0;
};

/// prctl(PR_SET_SECCOMP). Null in an image without the component linux/seccomp.
[[gnu::weak]] Result<void> set_seccomp_mode(uint64_t mode, uint64_t program);

}  // namespace aril::linux_abi
