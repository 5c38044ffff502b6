#include "relay/machine_watch.hpp"

#include <gtest/gtest.h>

#include <format>

namespace aril::tool {
namespace {

using std::chrono::seconds;
using Clock = MachineWatch::Clock;

const Clock::time_point kStart{};

/// What QEMU prints for one CPU, shortened.
std::string registers(const char* flags, int halted, int answers, int number = 0) {
  return std::format(
      "CPU#{}\\r\\nRAX=0000000000000000 RSP=0000000000000040\\r\\nRIP=ffffffff80101234 RFL={} "
      "[-------] CPL=0 II=0 A20=1 SMM=0 HLT={}\\r\\nCR0=80000011 CR2=0 CR3=0000000000100000 "
      "CR4=000000a0\\r\\nDR0=0000000000000000 DR3={:016x}\\r\\n",
      number, flags, halted, answers);
}
std::string answer(const std::string& text) {
  return "{\"return\": \"" + text + "\", \"id\": \"registers\"}\r\n";
}

class Watch : public testing::Test {
 protected:
  Watch() { watch.output().clear(); }

  /// Lets the next look come, answered with this. Returns whether an NMI was sent.
  bool look(const std::string& text) {
    now = watch.next_tick().value();
    watch.tick(now);
    EXPECT_TRUE(watch.output().contains("info registers -a"));
    watch.output().clear();
    watch.feed(answer(text), now);
    const bool sent = watch.output().contains("inject-nmi");
    watch.output().clear();
    return sent;
  }

  Clock::time_point now = kStart;
  MachineWatch watch{kStart, MachineWatch::Questions::kAsk};
};

TEST(CpuStates, AreReadFromQemusText) {
  std::string text = registers("00000246", 1, 7) + registers("00000046", 0, 8, 1);
  for (size_t at; (at = text.find("\\r\\n")) != std::string::npos;) text.replace(at, 4, "\n");
  const auto cpus = parse_cpu_states(text);
  ASSERT_EQ(cpus.size(), 2u);
  EXPECT_EQ(cpus[0].instruction, 0xffff'ffff'8010'1234u);
  EXPECT_EQ(cpus[0].page_table, 0x100000u);
  EXPECT_TRUE(cpus[0].interrupts);
  EXPECT_TRUE(cpus[0].halted);
  EXPECT_EQ(cpus[1].answers, 8u);
  EXPECT_FALSE(cpus[1].interrupts);
  EXPECT_FALSE(cpus[1].halted);
  const auto waiting = parse_cpu_states("CPU#0\nESP=0 EIP=0000fff0 EFL=00000002 HLT=1\n");
  ASSERT_EQ(waiting.size(), 1u);
  EXPECT_EQ(waiting[0].instruction, 0xfff0u);
  EXPECT_TRUE(parse_cpu_states("CPU#0\nRIP=zz RFL=").empty());
}

TEST_F(Watch, LeavesAnIdleMachineAloneButForAQuestionEveryTenSeconds) {
  int sent = 0;
  for (int i = 0; i < 100; ++i) sent += look(registers("00000246", 1, sent + 1)) ? 1 : 0;
  EXPECT_FALSE(watch.verdict());
  EXPECT_GE(now - kStart, seconds(199));
  EXPECT_NEAR(sent, 20, 1);
}

TEST_F(Watch, AsksAtOnceWhenInterruptsAreOff) {
  EXPECT_TRUE(look(registers("00000046", 0, 0)));
  EXPECT_LT(watch.next_tick().value() - now, seconds(1));
  for (int i = 1; i < 1000; ++i) {
    EXPECT_TRUE(look(registers("00000046", 0, i)));
  }
  EXPECT_FALSE(watch.verdict()) << "it answers: the kernel inside decides";
}

TEST_F(Watch, ReportsAHaltThatNothingWakes) {
  for (int i = 0; i < 3; ++i) look(registers("00000046", 1, 0));
  EXPECT_FALSE(watch.verdict());
  look(registers("00000046", 1, 0));
  ASSERT_TRUE(watch.verdict());
  EXPECT_EQ(watch.verdict()->at(0), "the machine has halted with interrupts off");
  EXPECT_EQ(watch.verdict()->at(1),
            "  CPU 0 at 0xffffffff80101234 with rsp 0x40, cr3 0x100000, interrupts off, halted");
  EXPECT_FALSE(watch.next_tick());
}

TEST_F(Watch, ReportsACpuThatDoesNotAnswerAnyMore) {
  look(registers("00000046", 0, 1));
  while (!watch.verdict() && now - kStart < seconds(300)) look(registers("00000246", 1, 1));
  ASSERT_TRUE(watch.verdict());
  EXPECT_EQ(watch.verdict()->at(0), "the machine does not answer any more");
  EXPECT_GE(now - kStart, seconds(30));
  EXPECT_LE(now - kStart, seconds(60));
}

TEST_F(Watch, DoesNotExpectAnswersOfACpuThatWasNotStarted) {
  int sent = 0;
  for (int i = 0; i < 200; ++i)
    sent += look(registers("00000246", 1, i + 1) + registers("00000002", 1, 0, 1)) ? 1 : 0;
  EXPECT_FALSE(watch.verdict());
  EXPECT_LT(sent, 50);
}

TEST_F(Watch, TellsWhereTheMachineStopped) {
  watch.feed("{\"timestamp\": {}, \"event\": \"SHUTDOWN\", \"data\": {\"guest\": true}}\r\n", now);
  EXPECT_TRUE(watch.has_stopped());
  EXPECT_FALSE(watch.verdict());
  watch.feed(answer(registers("00000046", 0, 0)), now);
  ASSERT_TRUE(watch.verdict());
  EXPECT_EQ(watch.verdict()->at(0), "the machine was reset or switched off");
  watch.output().clear();
  watch.quit();
  EXPECT_EQ(watch.output(), "{\"execute\":\"quit\"}\n");
}

TEST_F(Watch, SurvivesAnythingOnTheMonitor) {
  watch.feed("nonsense\n[1]\n{\"event\": 3}\n{\"return\": {}, \"id\": \"registers\"}\n\n", now);
  EXPECT_FALSE(watch.verdict());
  EXPECT_FALSE(watch.has_stopped());
}

TEST(QuietWatch, NeverAsks) {
  const MachineWatch watch{kStart, MachineWatch::Questions::kNone};
  EXPECT_FALSE(watch.next_tick());
}

}  // namespace
}  // namespace aril::tool
