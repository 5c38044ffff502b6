#pragma once
#include <cstdint>

namespace aril {

/// Linux error numbers [linux/asm-generic/errno.h]. They become `-errno` only at the system-call
/// edge, in linux/; everything below carries them in a Result.
enum class Errno : int32_t {
  kPerm = 1, kNoEnt = 2, kSrch = 3, kIntr = 4, kIo = 5, kNxIo = 6, k2Big = 7, kNoExec = 8,
  kBadF = 9, kChild = 10, kAgain = 11, kNoMem = 12, kAcces = 13, kFault = 14, kNotBlk = 15,
  kBusy = 16, kExist = 17, kXDev = 18, kNoDev = 19, kNotDir = 20, kIsDir = 21, kInval = 22,
  kNFile = 23, kMFile = 24, kNoTty = 25, kTxtBsy = 26, kFBig = 27, kNoSpc = 28, kSPipe = 29,
  kRoFs = 30, kMLink = 31, kPipe = 32, kDom = 33, kRange = 34, kDeadLk = 35, kNameTooLong = 36,
  kNoLck = 37, kNoSys = 38, kNotEmpty = 39, kLoop = 40, kNoMsg = 42, kIdRm = 43, kNoStr = 60,
  kNoData = 61, kTime = 62, kNoLink = 67, kProto = 71, kBadMsg = 74, kOverflow = 75, kIlSeq = 84,
  kUsers = 87, kNotSock = 88, kDestAddrReq = 89, kMsgSize = 90, kPrototype = 91,
  kNoProtoOpt = 92, kProtoNoSupport = 93, kSockTNoSupport = 94, kOpNotSupp = 95,
  kPfNoSupport = 96, kAfNoSupport = 97, kAddrInUse = 98, kAddrNotAvail = 99, kNetDown = 100,
  kNetUnreach = 101, kNetReset = 102, kConnAborted = 103, kConnReset = 104, kNoBufs = 105,
  kIsConn = 106, kNotConn = 107, kShutdown = 108, kTimedOut = 110, kConnRefused = 111,
  kHostDown = 112, kHostUnreach = 113, kAlready = 114, kInProgress = 115, kStale = 116,
  kDQuot = 122, kCanceled = 125, kOwnerDead = 130, kNotRecoverable = 131,
  /// Never seen by an application: the signal code turns it into a restart or into kIntr
  /// [linux/errno.h ERESTARTSYS].
  kRestart = 512,
};

}  // namespace aril
