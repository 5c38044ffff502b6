#include "relay/machine_watch.hpp"

#include <algorithm>
#include <charconv>
#include <format>
#include <nlohmann/json.hpp>
namespace aril::tool {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kLookInterval = seconds(2);
/// After a look that asked for an NMI because interrupts were off.
constexpr auto kSecondLook = milliseconds(500);
constexpr auto kQuestionInterval = seconds(10);
/// A CPU that has not answered so often, for so long, is lost. A busy host may keep QEMU from
/// running for a while, but then it does not answer here either.
constexpr unsigned kUnansweredQuestions = 5;
constexpr auto kPatience = seconds(30);
/// So many looks at a CPU that is halted without interrupts, and that NMIs do not wake.
constexpr unsigned kDeadLooks = 4;

constexpr std::string_view kRegistersId = "registers";

/// The hexadecimal number behind NAME=, "RIP=ffffffff80100000".
std::optional<uint64_t> value_of(std::string_view text, std::string_view name) {
  for (size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    const bool starts_word = at == 0 || text[at - 1] == ' ' || text[at - 1] == '\n';
    const size_t equals = at + name.size();
    if (!starts_word || equals >= text.size() || text[equals] != '=') continue;
    const std::string_view digits = text.substr(equals + 1, 16);
    uint64_t value = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (result.ec != std::errc()) return std::nullopt;
    return value;
  }
  return std::nullopt;
}

/// A member that is text; empty when it is not.
std::string text_of(const nlohmann::json& message, const char* name) {
  const auto found = message.find(name);
  return found != message.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string command(std::string_view name) { return std::format(R"({{"execute":"{}"}})", name); }

}  // namespace

std::vector<CpuState> parse_cpu_states(std::string_view text) {
  constexpr uint64_t kInterruptFlag = 0x200;
  constexpr std::string_view kStart = "CPU#";
  std::vector<CpuState> cpus;
  for (size_t at = text.find(kStart); at != std::string_view::npos;) {
    const size_t next = text.find(kStart, at + 1);
    const std::string_view one = text.substr(at, next == std::string_view::npos ? next : next - at);
    at = next;
    // A CPU that is not in 64-bit mode shows the short names.
    const bool is_long = value_of(one, "RIP").has_value();
    const auto rip = value_of(one, is_long ? "RIP" : "EIP");
    const auto flags = value_of(one, is_long ? "RFL" : "EFL");
    if (!rip || !flags) return {};
    cpus.push_back({.instruction = *rip,
                    .stack = value_of(one, is_long ? "RSP" : "ESP").value_or(0),
                    .page_table = value_of(one, "CR3").value_or(0),
                    .interrupts = (*flags & kInterruptFlag) != 0,
                    .halted = value_of(one, "HLT").value_or(0) != 0,
                    .answers = value_of(one, "DR3").value_or(0)});
  }
  return cpus;
}

MachineWatch::MachineWatch(Clock::time_point now, Questions questions)
    : questions_(questions), next_look_(now + kLookInterval), last_question_(now) {
  output_ = command("qmp_capabilities") + "\n";
}

std::optional<MachineWatch::Clock::time_point> MachineWatch::next_tick() const {
  if (questions_ == Questions::kNone || has_stopped_ || verdict_ || waits_for_registers_) {
    return std::nullopt;
  }
  return next_look_;
}

void MachineWatch::tick(Clock::time_point now) {
  const auto due = next_tick();
  if (due && now >= *due) ask_for_registers();
}

void MachineWatch::ask_for_registers() {
  output_ += std::format(
      R"({{"execute":"human-monitor-command","arguments":{{"command-line":"info registers -a"}},"id":"{}"}})"
      "\n",
      kRegistersId);
  waits_for_registers_ = true;
}

void MachineWatch::quit() { output_ += command("quit") + "\n"; }

void MachineWatch::feed(std::string_view bytes, Clock::time_point now) {
  for (const char c : bytes) {
    if (c != '\n') {
      if (line_.size() < kLongestLine) line_ += c;
      continue;
    }
    read_line(line_, now);
    line_.clear();
  }
}

void MachineWatch::read_line(std::string_view line, Clock::time_point now) {
  const auto message = nlohmann::json::parse(line, nullptr, false);
  if (!message.is_object()) return;
  // quit() brings another one.
  if (text_of(message, "event") == "SHUTDOWN" && !has_stopped_) {
    has_stopped_ = true;
    ask_for_registers();
  }
  if (text_of(message, "id") != kRegistersId) return;
  waits_for_registers_ = false;
  judge(parse_cpu_states(text_of(message, "return")), now);
}

void MachineWatch::judge(const std::vector<CpuState>& cpus, Clock::time_point now) {
  next_look_ = now + kLookInterval;
  if (verdict_) return;
  if (has_stopped_) {
    verdict_.emplace();
    for (size_t i = 0; i < cpus.size(); ++i)
      condemn("the machine was reset or switched off", i, cpus[i]);
    return;
  }
  history_.resize(cpus.size());
  bool is_off = false;
  for (size_t i = 0; i < cpus.size() && !verdict_; ++i) {
    judge_cpu(i, cpus[i], now);
    is_off |= !cpus[i].interrupts && (i == 0 || history_[i].has_answered);
  }
  const bool is_owed = std::ranges::any_of(history_, [](const History& history) {
    return history.has_answered && history.questions != 0;
  });
  if (verdict_ || (!is_off && !is_owed && now - last_question_ < kQuestionInterval)) return;
  output_ += command("inject-nmi") + "\n";
  last_question_ = now;
  if (is_off) next_look_ = now + kSecondLook;
  for (History& history : history_) {
    if (history.questions++ == 0) history.first_asked = now;
  }
}

void MachineWatch::judge_cpu(size_t number, const CpuState& cpu, Clock::time_point now) {
  History& history = history_[number];
  const bool answered = history.answers != cpu.answers;
  history.answers = cpu.answers;
  history.has_answered |= cpu.answers != 0;
  if (answered) history.questions = 0;
  history.dead_looks = cpu.halted && !cpu.interrupts && !answered ? history.dead_looks + 1 : 0;
  // A CPU that the kernel has not started waits like this too; the first one always runs.
  if (!history.has_answered && number != 0) return;
  if (history.dead_looks >= kDeadLooks) {
    condemn("the machine has halted with interrupts off", number, cpu);
  } else if (history.has_answered && history.questions >= kUnansweredQuestions &&
             now - history.first_asked >= kPatience) {
    condemn("the machine does not answer any more", number, cpu);
  }
}

void MachineWatch::condemn(const std::string& what, size_t number, const CpuState& cpu) {
  if (!verdict_) verdict_.emplace();
  if (verdict_->empty()) verdict_->push_back(what);
  verdict_->push_back(std::format("  CPU {} at {:#x} with rsp {:#x}, cr3 {:#x}, interrupts {}{}",
                                  number, cpu.instruction, cpu.stack, cpu.page_table,
                                  cpu.interrupts ? "on" : "off", cpu.halted ? ", halted" : ""));
}

}  // namespace aril::tool
