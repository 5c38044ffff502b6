#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace aril::tool {

/// One virtual CPU, as QEMU's "info registers" shows it.
struct CpuState {
  uint64_t instruction = 0;  ///< RIP
  uint64_t stack = 0;        ///< RSP
  uint64_t page_table = 0;   ///< CR3
  bool interrupts = false;   ///< RFLAGS.IF
  bool halted = false;
  uint64_t answers = 0;  ///< DR3: counted up by the kernel at each NMI (arch/x86_64/src/watch.cpp)
};

/// The answer to "info registers -a", CPUs in order; what is not one gives none.
std::vector<CpuState> parse_cpu_states(std::string_view text);

/// Watches a machine through QEMU's monitor (QMP), because its application runs in ring 0 and can
/// stop the machine in ways that the kernel inside cannot tell of: it resets it, switches
/// interrupts off and halts, or breaks the kernel. A machine that resets or powers off is held by
/// QEMU
/// (-action shutdown=pause), so that its registers tell where that was.
///
/// Looks at the CPUs every two seconds; sends NMIs while one has interrupts off, and every ten
/// seconds, which the kernel answers. Free of I/O and clocks: the caller carries the bytes.
class MachineWatch {
 public:
  using Clock = std::chrono::steady_clock;

  enum class Questions { kAsk, kNone };
  /// `questions` kNone: only learns of the machine's end, as is right while gdb holds it.
  MachineWatch(Clock::time_point now, Questions questions);

  void feed(std::string_view bytes, Clock::time_point now);
  /// When tick() wants to be called; nothing: never.
  [[nodiscard]] std::optional<Clock::time_point> next_tick() const;
  void tick(Clock::time_point now);

  /// What is to be written to the monitor; the caller erases what it has written.
  std::string& output() { return output_; }

  /// The machine has powered off or reset itself. QEMU waits until quit().
  [[nodiscard]] bool has_stopped() const { return has_stopped_; }
  void quit();
  /// What is wrong with the machine, in lines for a report; nothing while it seems well. For a
  /// machine that has stopped: where it was then, once that is known.
  [[nodiscard]] const std::optional<std::vector<std::string>>& verdict() const { return verdict_; }

 private:
  static constexpr size_t kLongestLine = size_t{1} << 20;

  struct History {
    uint64_t answers = 0;
    bool has_answered = false;
    unsigned questions = 0;         ///< NMIs since the last answer
    Clock::time_point first_asked;  ///< the first of them
    unsigned dead_looks = 0;        ///< seen halted without interrupts, in a row
  };

  void read_line(std::string_view line, Clock::time_point now);
  void judge(const std::vector<CpuState>& cpus, Clock::time_point now);
  void judge_cpu(size_t number, const CpuState& cpu, Clock::time_point now);
  void condemn(const std::string& what, size_t number, const CpuState& cpu);
  void ask_for_registers();

  Questions questions_;
  std::string line_;
  std::string output_;
  std::vector<History> history_;
  bool has_stopped_ = false;
  bool waits_for_registers_ = false;
  Clock::time_point next_look_;
  Clock::time_point last_question_;
  std::optional<std::vector<std::string>> verdict_;
};

}  // namespace aril::tool
