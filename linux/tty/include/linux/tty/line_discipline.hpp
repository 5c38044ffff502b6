#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace aril::linux_abi {

/// The kernel's struct termios [asm-generic/termbits.h].
struct Termios {
  uint32_t input, output, control, local;
  uint8_t line;
  std::array<uint8_t, 19> characters;

  /// What a new terminal has: cooked, echoing, ONLCR.
  static Termios standard();
};
static_assert(sizeof(Termios) == 36);

inline constexpr uint32_t IGNBRK = 1, IGNCR = 0200, ICRNL = 0400, INLCR = 0100, IXON = 02000,
                          ISTRIP = 040;
inline constexpr uint32_t OPOST = 1, ONLCR = 4, OCRNL = 010;
inline constexpr uint32_t ISIG = 1, ICANON = 2, ECHO = 010, ECHOE = 020, ECHOK = 040, ECHONL = 0100,
                          NOFLSH = 0200, TOSTOP = 0400, ECHOCTL = 01000, ECHOKE = 04000,
                          IEXTEN = 0100000;
inline constexpr size_t VINTR = 0, VQUIT = 1, VERASE = 2, VKILL = 3, VEOF = 4, VTIME = 5, VMIN = 6,
                        VSTART = 8, VSTOP = 9, VSUSP = 10, VEOL = 11, VWERASE = 14, VLNEXT = 15,
                        VEOL2 = 16;

/// Where a line discipline's effects go.
class TerminalEffects {
 public:
  /// To be shown.
  virtual void echo(std::span<const std::byte> bytes) = 0;
  /// To the foreground process group; `number` as Linux's signals.
  virtual void signal(int number) = 0;

 protected:
  ~TerminalEffects() = default;
};

/// Turns what is typed into what is read, and what is written into what is shown
/// [termios(3)]. A pure state machine: no lock, no waiting.
class LineDiscipline {
 public:
  static constexpr size_t kLineLimit = 4095;  ///< of an edited line, without its end

  [[nodiscard]] const Termios& settings() const { return settings_; }
  void set_settings(const Termios& settings);

  void receive(std::byte byte, TerminalEffects& effects);

  /// A read would not wait: a line, or in raw mode at least max(1, min(VMIN, wanted)) bytes.
  [[nodiscard]] bool is_readable(size_t wanted = 1) const;
  [[nodiscard]] size_t readable_bytes() const { return count_; }
  /// Up to one line in canonical mode; 0 is the end of file that VEOF typed.
  size_t read(std::span<std::byte> out);
  void flush_input();

  /// Translates output; the count of `in` taken, `out_used` of `out` filled.
  size_t translate_output(std::span<const std::byte> in, std::span<std::byte> out,
                          size_t& out_used) const;

 private:
  static constexpr uint16_t kEndOfFile = 0x100;  // in ready_: what VEOF leaves when it ends a line
  static constexpr size_t kReadyLimit = 8192;

  [[nodiscard]] bool has_local(uint32_t bits) const { return (settings_.local & bits) != 0; }
  [[nodiscard]] bool is_character(uint8_t byte, size_t index) const {
    return settings_.characters[index] != 0 && settings_.characters[index] == byte;
  }
  bool handle_signal(uint8_t byte, TerminalEffects& effects);
  bool handle_editing(uint8_t byte, TerminalEffects& effects);
  void erase_one(TerminalEffects& effects);
  void echo_byte(uint8_t byte, TerminalEffects& effects) const;
  void finish_line();
  bool push(uint16_t value);
  uint16_t pop();

  Termios settings_ = Termios::standard();
  std::array<uint8_t, kLineLimit + 1> line_;
  size_t line_length_ = 0;
  std::array<uint16_t, kReadyLimit> ready_;
  size_t first_ = 0, count_ = 0;
  size_t lines_ = 0;  // complete lines, and ends of file, in ready_
  bool literal_next_ = false;
};

}  // namespace aril::linux_abi
