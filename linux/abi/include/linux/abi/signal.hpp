#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

/// Signal numbers and the layouts of signal structures as x86-64 Linux has them
/// [linux/uapi/asm/signal.h, asm-generic/siginfo.h].
namespace aril::linux_abi {

inline constexpr int kSignalCount = 64;
inline constexpr int kSignalRealTimeMin = 32;

inline constexpr int SIGHUP = 1, SIGINT = 2, SIGQUIT = 3, SIGILL = 4, SIGTRAP = 5, SIGABRT = 6,
                     SIGBUS = 7, SIGFPE = 8, SIGKILL = 9, SIGUSR1 = 10, SIGSEGV = 11, SIGUSR2 = 12,
                     SIGPIPE = 13, SIGALRM = 14, SIGTERM = 15, SIGSTKFLT = 16, SIGCHLD = 17,
                     SIGCONT = 18, SIGSTOP = 19, SIGTSTP = 20, SIGTTIN = 21, SIGTTOU = 22,
                     SIGURG = 23, SIGXCPU = 24, SIGXFSZ = 25, SIGVTALRM = 26, SIGPROF = 27,
                     SIGWINCH = 28, SIGIO = 29, SIGPWR = 30, SIGSYS = 31;

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
inline constexpr SignalSet kUnblockableSignals = SignalSet::of(SIGKILL, SIGSTOP);
inline constexpr SignalSet kStopSignals = SignalSet::of(SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU);
/// Raised by the faulting instruction itself; delivered before all others [signal(7)].
inline constexpr SignalSet kSynchronousSignals =
    SignalSet::of(SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGSYS);
/// Default action: nothing.
inline constexpr SignalSet kIgnoredByDefault = SignalSet::of(SIGCHLD, SIGCONT, SIGURG, SIGWINCH);

/// sa_handler's special values.
inline constexpr uint64_t kSignalDefault = 0, kSignalIgnore = 1;

inline constexpr uint64_t SA_NOCLDSTOP = 1, SA_NOCLDWAIT = 2, SA_SIGINFO = 4,
                          SA_RESTORER = 0x04000000, SA_ONSTACK = 0x08000000,
                          SA_RESTART = 0x10000000, SA_NODEFER = 0x40000000,
                          SA_RESETHAND = 0x80000000;

/// The kernel's struct sigaction.
struct SignalAction {
  uint64_t handler = kSignalDefault;
  uint64_t flags = 0;
  uint64_t restorer = 0;
  SignalSet mask;
};
static_assert(sizeof(SignalAction) == 32);

// si_code.
inline constexpr int32_t SI_USER = 0, SI_KERNEL = 0x80, SI_QUEUE = -1, SI_TIMER = -2, SI_MESGQ = -3,
                         SI_ASYNCIO = -4, SI_SIGIO = -5, SI_TKILL = -6;
inline constexpr int32_t SEGV_MAPERR = 1, SEGV_ACCERR = 2, BUS_ADRALN = 1, BUS_ADRERR = 2,
                         ILL_ILLOPN = 2, FPE_INTDIV = 1, FPE_INTOVF = 2, FPE_FLTDIV = 3,
                         FPE_FLTOVF = 4, FPE_FLTUND = 5, FPE_FLTRES = 6, FPE_FLTINV = 7,
                         TRAP_BRKPT = 1, TRAP_TRACE = 2, CLD_EXITED = 1, CLD_KILLED = 2,
                         CLD_DUMPED = 3, CLD_STOPPED = 5, CLD_CONTINUED = 6;

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
      uint64_t value;  ///< sigval, for SI_QUEUE
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

inline constexpr int32_t SS_ONSTACK = 1, SS_DISABLE = 2;
inline constexpr uint32_t SS_AUTODISARM = 1u << 31;

/// stack_t.
struct AlternateStack {
  uint64_t base = 0;
  int32_t flags = SS_DISABLE;
  int32_t padding = 0;
  uint64_t size = 0;
};
static_assert(sizeof(AlternateStack) == 24);
inline constexpr uint64_t kMinimumSignalStack = 2048;

/// "SIGSEGV"; "SIGRT_n" for real-time ones; static text.
const char* signal_name(int number);

}  // namespace aril::linux_abi
