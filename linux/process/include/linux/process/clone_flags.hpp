#pragma once
#include <cstdint>

/// CLONE_* [linux/sched.h].
namespace aril::linux_abi::clone_flag {

inline constexpr uint64_t kVm = 0x100, kFs = 0x200, kFiles = 0x400, kSighand = 0x800,
                          kPidfd = 0x1000, kVfork = 0x4000, kParent = 0x8000, kThread = 0x10000,
                          kSetTls = 0x80000, kParentSetTid = 0x100000, kChildClearTid = 0x200000,
                          kChildSetTid = 0x1000000, kClearSighand = 0x1'0000'0000;
/// NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: a kernel built without namespaces.
inline constexpr uint64_t kNamespaces = 0x7e02'0000;
/// What clone3 takes for known: all of clone's, and clearing handlers.
inline constexpr uint64_t kClone3Known = 0x1'ffff'ff00 & ~uint64_t{0x0040'0000} & ~kNamespaces;

}  // namespace aril::linux_abi::clone_flag
