#pragma once
#include <cstdint>

#include "base/errno.hpp"

/// Structures and constants of io_uring as x86-64 Linux 6.1 has them [linux/io_uring.h].
namespace aril::linux_abi::io_uring {

// clang-format off
enum class Opcode : uint8_t {
  kNop, kReadv, kWritev, kFsync, kReadFixed, kWriteFixed, kPollAdd, kPollRemove, kSyncFileRange,
  kSendMsg, kRecvMsg, kTimeout, kTimeoutRemove, kAccept, kAsyncCancel, kLinkTimeout, kConnect,
  kFallocate, kOpenAt, kClose, kFilesUpdate, kStatx, kRead, kWrite, kFadvise, kMadvise, kSend,
  kRecv, kOpenAt2, kEpollCtl, kSplice, kProvideBuffers, kRemoveBuffers, kTee, kShutdown,
  kRenameAt, kUnlinkAt, kMkdirAt, kSymlinkAt, kLinkAt, kMsgRing, kFsetXattr, kSetXattr,
  kFgetXattr, kGetXattr, kSocket, kUringCmd, kSendZc, kSendMsgZc, kCount,
};
// clang-format on

// Flags of a submission entry.
inline constexpr uint8_t kFixedFile = 1, kDrain = 2, kLink = 4, kHardLink = 8, kAsync = 16,
                         kBufferSelect = 32, kSkipSuccess = 64;

/// struct io_uring_sqe. The fields that several operations share go by what most use them for.
struct Submission {
  uint8_t opcode, flags;
  uint16_t priority;
  int32_t fd;
  uint64_t offset;   ///< addr2, off
  uint64_t address;  ///< addr, splice_off_in
  uint32_t length;
  uint32_t operation_flags;  ///< rw_flags, msg_flags, open_flags, timeout_flags, ...
  uint64_t user_data;
  uint16_t buffer_index;  ///< or buffer group
  uint16_t personality;
  uint32_t file_index;  ///< or splice_fd_in
  uint64_t address3;
  uint64_t padding;
};
static_assert(sizeof(Submission) == 64);

/// struct io_uring_cqe.
struct Completion {
  uint64_t user_data;
  int32_t result;
  uint32_t flags;
};
static_assert(sizeof(Completion) == 16);
inline constexpr uint32_t kCompletionMore = 2;

// Flags of io_uring_setup.
inline constexpr uint32_t kSetupSqPoll = 2, kSetupSqAffinity = 4, kSetupCqSize = 8,
                          kSetupClamp = 0x10, kSetupAttach = 0x20, kSetupDisabled = 0x40,
                          kSetupSubmitAll = 0x80, kSetupCoopTaskrun = 0x100,
                          kSetupTaskrunFlag = 0x200, kSetupSingleIssuer = 0x1000,
                          kSetupDeferTaskrun = 0x2000;
// sq_flags.
inline constexpr uint32_t kNeedWakeup = 1, kCqOverflow = 2;
// Flags of io_uring_enter.
inline constexpr uint32_t kEnterGetEvents = 1, kEnterSqWakeup = 2, kEnterSqWait = 4,
                          kEnterExtendedArgument = 8, kEnterRegisteredRing = 16;
// Features: SINGLE_MMAP, NODROP, SUBMIT_STABLE, RW_CUR_POS, CUR_PERSONALITY, FAST_POLL,
// POLL_32BITS, SQPOLL_NONFIXED, EXT_ARG, NATIVE_WORKERS, RSRC_TAGS, CQE_SKIP, LINKED_FILE.
inline constexpr uint32_t kFeatures = 0x1fff;

inline constexpr uint64_t kOffsetSqRing = 0, kOffsetCqRing = 0x8000000, kOffsetSqes = 0x10000000;

struct SqOffsets {
  uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, reserved1;
  uint64_t reserved2;
};
struct CqOffsets {
  uint32_t head, tail, ring_mask, ring_entries, overflow, completions, flags, reserved1;
  uint64_t reserved2;
};
/// struct io_uring_params.
struct Parameters {
  uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd;
  uint32_t reserved[3];
  SqOffsets sq;
  CqOffsets cq;
};
static_assert(sizeof(Parameters) == 120);

// sqe->timeout_flags.
inline constexpr uint32_t kTimeoutAbsolute = 1, kTimeoutUpdate = 2, kTimeoutBoottime = 4,
                          kTimeoutRealtime = 8, kLinkTimeoutUpdate = 16, kTimeoutEtimeSuccess = 32;
// sqe->len of POLL_ADD.
inline constexpr uint32_t kPollMulti = 1, kPollUpdateEvents = 2, kPollUpdateData = 4;
// sqe->cancel_flags.
inline constexpr uint32_t kCancelAll = 1, kCancelFd = 2, kCancelAny = 4, kCancelFdFixed = 8;
// sqe->ioprio of accept and recv.
inline constexpr uint16_t kAcceptMulti = 1;
inline constexpr uint16_t kSendRecvPollFirst = 1;
inline constexpr uint32_t kFileIndexAlloc = ~0u;
/// EBADFD: the ring is not in the right state. Nothing else here has it.
inline constexpr auto kBadState = static_cast<Errno>(77);

}  // namespace aril::linux_abi::io_uring
