#pragma once
#include <chrono>
#include <optional>
#include <set>
#include <string>

#include "machine/machine_process.hpp"
#include "relay/control_line.hpp"
#include "relay/machine_watch.hpp"
#include "relay/terminal.hpp"
#include "support/file.hpp"
#include "symbolizer/symbolizer.hpp"

namespace aril::tool {

enum class Verbosity { kProgramOnly, kKernelLog };
/// Whether the guest can make a terminal of what is one here (ImageDescriptor::has_terminals).
enum class Terminals { kNo, kYes };

/// Blocks the signals that a Relay forwards. To be called before the machine starts and before any
/// other thread, so that none is lost.
void block_forwarded_signals();

/// Carries everything between a running machine and aril's own streams, until the machine stops:
/// stdin, stdout and stderr of the program, signals to it, and the records of the control line.
/// Reports and system-call logs go to stderr.
class Relay {
 public:
  Relay(MachineProcess& machine, Symbolizer& symbolizer, Verbosity verbosity, Terminals terminals,
        MachineWatch::Questions questions);

  /// The names of system calls that are traced go into `calls`, and to stderr only with `show_too`.
  /// Before run(); `calls` must outlive it.
  void record_calls(std::set<std::string>& calls, bool show_too) {
    calls_ = &calls;
    show_calls_ = show_too;
  }

  /// Returns the program's exit status, 255 after a report when the machine stopped or got stuck on
  /// its own, or 128 + the signal that made aril end the machine. Throws Error when QEMU failed.
  int run();

 private:
  using Clock = std::chrono::steady_clock;

  /// Bytes on their way in one direction.
  struct Stream {
    int source = -1;  ///< -1: at its end
    int target = -1;
    std::string pending;
    size_t written = 0;
    bool idle() const { return pending.empty(); }
  };

  void poll_once();
  int poll_timeout() const;
  bool pull(Stream& stream);
  void push(Stream& stream, size_t limit);
  void read_input();
  void end_input();
  void watch_for_interrupts(std::string_view typed);
  void read_signals();
  bool read_control();
  void write_commands();
  void read_messages();
  void exchange_with_monitor();
  void handle(const ControlRecord& record);
  void show_boot_step(const ControlRecord& record);
  void send_command(const std::string& command);
  void show(const std::string& text);
  void end_machine(int signal);
  void drain();
  int result();

  MachineProcess& machine_;
  Symbolizer& symbolizer_;
  Verbosity verbosity_;
  RawTerminal terminal_;
  Descriptor signals_;
  ControlLine control_;
  MachineWatch watch_;

  Stream input_;   ///< our stdin to the console
  Stream output_;  ///< console to our stdout
  Stream error_;   ///< stderr line to our stderr
  std::string commands_;
  std::string messages_;
  uint64_t input_count_ = 0;
  bool input_ended_ = false;
  bool watch_input_ = true;
  uint64_t boot_time_ = 0;  ///< when the last step of the boot ended
  int interrupts_ = 0;
  int typed_interrupts_ = 0;
  bool finished_ = false;
  bool quit_sent_ = false;
  std::set<std::string>* calls_ = nullptr;
  bool show_calls_ = true;
  std::optional<int> exit_status_;
  std::optional<int> killed_by_;
  std::optional<Clock::time_point> deadline_;  ///< then the machine is killed
  int deadline_signal_ = 0;
};

}  // namespace aril::tool
