#include "linux/tty/line_discipline.hpp"

#include <algorithm>

namespace aril::linux_abi {

namespace {

constexpr int kSigInt = 2, kSigQuit = 3, kSigTstp = 20;

bool is_control(uint8_t byte) { return byte < 0x20 || byte == 0x7f; }
/// UTF-8's bytes after the first: erased together with it.
bool is_continuation(uint8_t byte) { return (byte & 0xc0) == 0x80; }

void show(std::span<const uint8_t> bytes, TerminalEffects& effects) {
  effects.echo(std::as_bytes(bytes));
}

}  // namespace

Termios Termios::standard() {
  constexpr uint32_t kB38400 = 017, kCs8 = 060, kCread = 0200;
  Termios termios{};
  termios.input = ICRNL | IXON;
  termios.output = OPOST | ONLCR;
  termios.control = kB38400 | kCs8 | kCread;
  termios.local = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
  // INIT_C_CC of Linux: ^C ^\ DEL ^U ^D, VMIN 1, ^Q ^S ^Z, ^R ^O ^W ^V.
  termios.characters = {3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0};
  return termios;
}

void LineDiscipline::set_settings(const Termios& settings) {
  bool was_canonical = has_local(ICANON);
  settings_ = settings;
  if (was_canonical && !has_local(ICANON)) {
    // What was being edited can be read as it is.
    for (size_t i = 0; i < line_length_; ++i) (void)push(line_[i]);
    line_length_ = 0;
  } else if (!was_canonical && has_local(ICANON) && count_ != 0) {
    lines_ = std::max<size_t>(lines_, 1);
  }
}

bool LineDiscipline::push(uint16_t value) {
  if (count_ == kReadyLimit) return false;
  ready_[(first_ + count_) % kReadyLimit] = value;
  ++count_;
  return true;
}

uint16_t LineDiscipline::pop() {
  uint16_t value = ready_[first_];
  first_ = (first_ + 1) % kReadyLimit;
  --count_;
  return value;
}

void LineDiscipline::flush_input() { line_length_ = first_ = count_ = lines_ = 0; }

void LineDiscipline::finish_line() {
  for (size_t i = 0; i < line_length_; ++i) (void)push(line_[i]);
  line_length_ = 0;
  ++lines_;
}

void LineDiscipline::echo_byte(uint8_t byte, TerminalEffects& effects) const {
  if (byte == '\n') {
    if (!has_local(ECHO | ECHONL)) return;
    constexpr uint8_t kNewLine[] = {'\r', '\n'};
    bool translated = (settings_.output & OPOST) != 0 && (settings_.output & ONLCR) != 0;
    show(std::span(kNewLine).subspan(translated ? 0 : 1), effects);
    return;
  }
  if (!has_local(ECHO)) return;
  if (has_local(ECHOCTL) && is_control(byte) && byte != '\t') {
    uint8_t caret[] = {'^', static_cast<uint8_t>(byte ^ 0x40)};
    show(caret, effects);
    return;
  }
  show({&byte, 1}, effects);
}

bool LineDiscipline::handle_signal(uint8_t byte, TerminalEffects& effects) {
  if (!has_local(ISIG)) return false;
  int number = is_character(byte, VINTR)   ? kSigInt
               : is_character(byte, VQUIT) ? kSigQuit
               : is_character(byte, VSUSP) ? kSigTstp
                                           : 0;
  if (number == 0) return false;
  if (!has_local(NOFLSH)) flush_input();
  echo_byte(byte, effects);
  effects.signal(number);
  return true;
}

void LineDiscipline::erase_one(TerminalEffects& effects) {
  if (line_length_ == 0) return;
  while (line_length_ > 1 && is_continuation(line_[line_length_ - 1])) --line_length_;
  uint8_t erased = line_[--line_length_];
  if (!has_local(ECHO) || !has_local(ECHOE)) return;
  constexpr uint8_t kWipe[] = {'\b', ' ', '\b', '\b', ' ', '\b'};
  bool wide = has_local(ECHOCTL) && is_control(erased);  // shown as two characters
  show(std::span(kWipe).first(wide ? 6 : 3), effects);
}

bool LineDiscipline::handle_editing(uint8_t byte, TerminalEffects& effects) {
  if (is_character(byte, VERASE)) {
    erase_one(effects);
    return true;
  }
  if (is_character(byte, VKILL)) {
    while (line_length_ != 0) erase_one(effects);
    return true;
  }
  if (has_local(IEXTEN) && is_character(byte, VWERASE)) {
    while (line_length_ != 0 && line_[line_length_ - 1] == ' ') erase_one(effects);
    while (line_length_ != 0 && line_[line_length_ - 1] != ' ') erase_one(effects);
    return true;
  }
  if (has_local(IEXTEN) && is_character(byte, VLNEXT)) {
    literal_next_ = true;
    return true;
  }
  if (is_character(byte, VEOF)) {
    finish_line();
    (void)push(kEndOfFile);
    return true;
  }
  return false;
}

void LineDiscipline::receive(std::byte raw, TerminalEffects& effects) {
  auto byte = std::to_integer<uint8_t>(raw);
  if ((settings_.input & ISTRIP) != 0) byte &= 0x7f;
  bool literal = literal_next_;
  literal_next_ = false;
  if (!literal) {
    if (byte == '\r') {
      if ((settings_.input & IGNCR) != 0) return;
      if ((settings_.input & ICRNL) != 0) byte = '\n';
    } else if (byte == '\n' && (settings_.input & INLCR) != 0) {
      byte = '\r';
    }
    if (handle_signal(byte, effects)) return;
  }
  if (!has_local(ICANON)) {
    if (push(byte)) echo_byte(byte, effects);
    return;
  }
  if (!literal) {
    if (handle_editing(byte, effects)) return;
    if (byte == '\n' || is_character(byte, VEOL) || is_character(byte, VEOL2)) {
      if (count_ + line_length_ + 2 > kReadyLimit) return;  // no reader: the line is held back
      line_[line_length_++] = byte;
      echo_byte(byte, effects);
      finish_line();
      return;
    }
  }
  if (line_length_ >= kLineLimit) return;
  line_[line_length_++] = byte;
  echo_byte(byte, effects);
}

bool LineDiscipline::is_readable(size_t wanted) const {
  if (has_local(ICANON)) return lines_ != 0;
  size_t minimum = std::min<size_t>(settings_.characters[VMIN], wanted);
  return count_ >= std::max<size_t>(minimum, 1);
}

size_t LineDiscipline::read(std::span<std::byte> out) {
  bool canonical = has_local(ICANON);
  size_t used = 0;
  while (count_ != 0) {
    uint16_t next = ready_[first_];
    if (next == kEndOfFile) {
      (void)pop();
      lines_ -= lines_ != 0 ? 1 : 0;
      if (canonical) break;
      continue;
    }
    if (used == out.size()) break;
    auto byte = static_cast<uint8_t>(pop());
    out[used++] = std::byte{byte};
    if (canonical && (byte == '\n' || is_character(byte, VEOL) || is_character(byte, VEOL2))) {
      lines_ -= lines_ != 0 ? 1 : 0;
      break;
    }
  }
  if (count_ == 0) lines_ = 0;
  return used;
}

size_t LineDiscipline::translate_output(std::span<const std::byte> in, std::span<std::byte> out,
                                        size_t& out_used) const {
  bool process = (settings_.output & OPOST) != 0;
  size_t taken = 0;
  out_used = 0;
  for (; taken < in.size(); ++taken) {
    std::byte byte = in[taken];
    bool expands = process && byte == std::byte{'\n'} && (settings_.output & ONLCR) != 0;
    if (out.size() - out_used < (expands ? 2u : 1u)) break;
    if (expands) out[out_used++] = std::byte{'\r'};
    if (process && byte == std::byte{'\r'} && (settings_.output & OCRNL) != 0)
      byte = std::byte{'\n'};
    out[out_used++] = byte;
  }
  return taken;
}

}  // namespace aril::linux_abi
