#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

/// Signal numbers and the layouts of signal structures as x86-64 Linux has them
/// [linux/uapi/asm/signal.h, asm-generic/siginfo.h].
namespace aril::linux_abi {

inline constexpr int kSignalCount = 64;
inline constexpr int kSignalRealTimeMin = 32;

inline constexpr int kSigHup = 1, kSigInt = 2, kSigQuit = 3, kSigIll = 4, kSigTrap = 5,
                     kSigAbrt = 6, kSigBus = 7, kSigFpe = 8, kSigKill = 9, kSigUsr1 = 10,
                     kSigSegv = 11, kSigUsr2 = 12, kSigPipe = 13, kSigAlrm = 14, kSigTerm = 15,
                     kSigStkflt = 16, kSigChld = 17, kSigCont = 18, kSigStop = 19, kSigTstp = 20,
                     kSigTtin = 21, kSigTtou = 22, kSigUrg = 23, kSigXcpu = 24, kSigXfsz = 25,
                     kSigVtalrm = 26, kSigProf = 27, kSigWinch = 28, kSigIo = 29, kSigPwr = 30,
                     kSigSys = 31;

[[nodiscard]] constexpr bool is_valid_signal(int64_t number) {
  return number >= 1 && number <= kSignalCount;
}

/// Linux's sigset_t: bit n-1 stands for signal n.
class SignalSet {
 public:
  constexpr SignalSet() = default;
  constexpr explicit SignalSet(uint64_t bits) : bits_(bits) {}
  template <typename... Numbers>
  static constexpr SignalSet of(Numbers... numbers) {
    return SignalSet((uint64_t{0} | ... | bit(numbers)));
  }
  static constexpr SignalSet all() { return SignalSet(~uint64_t{0}); }

  [[nodiscard]] constexpr uint64_t bits() const { return bits_; }
  [[nodiscard]] constexpr bool contains(int number) const { return (bits_ & bit(number)) != 0; }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
  constexpr void add(int number) { bits_ |= bit(number); }
  constexpr void remove(int number) { bits_ &= ~bit(number); }
  /// The smallest signal number in the set; 0 when it is empty.
  [[nodiscard]] constexpr int first() const { return bits_ == 0 ? 0 : std::countr_zero(bits_) + 1; }

  friend constexpr SignalSet operator|(SignalSet a, SignalSet b) {
    return SignalSet(a.bits_ | b.bits_);
  }
  friend constexpr SignalSet operator&(SignalSet a, SignalSet b) {
    return SignalSet(a.bits_ & b.bits_);
  }
  friend constexpr SignalSet operator~(SignalSet a) { return SignalSet(~a.bits_); }
  constexpr bool operator==(const SignalSet&) const = default;

 private:
  static constexpr uint64_t bit(int number) { return uint64_t{1} << (number - 1); }
  uint64_t bits_ = 0;
};
static_assert(sizeof(SignalSet) == 8);

/// Neither can be caught, blocked or ignored.
inline constexpr SignalSet kUnblockableSignals = SignalSet::of(kSigKill, kSigStop);
inline constexpr SignalSet kStopSignals = SignalSet::of(kSigStop, kSigTstp, kSigTtin, kSigTtou);
/// Raised by the faulting instruction itself; delivered before all others [signal(7)].
inline constexpr SignalSet kSynchronousSignals =
    SignalSet::of(kSigSegv, kSigBus, kSigIll, kSigTrap, kSigFpe, kSigSys);
/// Default action: nothing.
inline constexpr SignalSet kIgnoredByDefault =
    SignalSet::of(kSigChld, kSigCont, kSigUrg, kSigWinch);

/// sa_handler's special values.
inline constexpr uint64_t kSignalDefault = 0, kSignalIgnore = 1;

inline constexpr uint64_t kSaNocldstop = 1, kSaNocldwait = 2, kSaSiginfo = 4,
                          kSaRestorer = 0x04000000, kSaOnstack = 0x08000000,
                          kSaRestart = 0x10000000, kSaNodefer = 0x40000000,
                          kSaResethand = 0x80000000;

/// The kernel's struct sigaction.
struct SignalAction {
  uint64_t handler = kSignalDefault;
  uint64_t flags = 0;
  uint64_t restorer = 0;
  SignalSet mask;
};
static_assert(sizeof(SignalAction) == 32);

// si_code.
inline constexpr int32_t kSiUser = 0, kSiKernel = 0x80, kSiQueue = -1, kSiTimer = -2, kSiMesgq = -3,
                         kSiAsyncio = -4, kSiSigio = -5, kSiTkill = -6;
inline constexpr int32_t kSegvMaperr = 1, kSegvAccerr = 2, kBusAdraln = 1, kBusAdrerr = 2,
                         kIllIllopn = 2, kFpeIntdiv = 1, kFpeIntovf = 2, kFpeFltdiv = 3,
                         kFpeFltovf = 4, kFpeFltund = 5, kFpeFltres = 6, kFpeFltinv = 7,
                         kTrapBrkpt = 1, kTrapTrace = 2, kCldExited = 1, kCldKilled = 2,
                         kCldDumped = 3, kCldStopped = 5, kCldContinued = 6;

/// siginfo_t.
struct SignalInfo {
  int32_t signal = 0;
  int32_t error = 0;
  int32_t code = 0;
  int32_t padding = 0;
  union {
    struct {
      int32_t pid;
      uint32_t uid;
      uint64_t value;  ///< sigval, for kSiQueue
    } sender;
    struct {
      int32_t timer_id;
      int32_t overrun;
      uint64_t value;
    } timer;
    struct {
      int32_t pid;
      uint32_t uid;
      int32_t status;
      int32_t padding;
      int64_t user_time, system_time;
    } child;
    struct {
      uint64_t address;
      int16_t address_lsb;
    } fault;
    struct {
      int64_t band;
      int32_t fd;
    } poll;
    uint8_t bytes[112] = {};
  };
};
static_assert(sizeof(SignalInfo) == 128);
static_assert(offsetof(SignalInfo, sender) == 16);

inline constexpr int32_t kSsOnstack = 1, kSsDisable = 2;
inline constexpr uint32_t kSsAutodisarm = 1u << 31;

/// stack_t.
struct AlternateStack {
  uint64_t base = 0;
  int32_t flags = kSsDisable;
  int32_t padding = 0;
  uint64_t size = 0;
};
static_assert(sizeof(AlternateStack) == 24);
inline constexpr uint64_t kMinimumSignalStack = 2048;

/// "SIGSEGV"; "SIGRT_n" for real-time ones; static text.
const char* signal_name(int number);

}  // namespace aril::linux_abi
