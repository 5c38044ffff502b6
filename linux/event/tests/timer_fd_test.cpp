#include "linux/event/timer_fd.hpp"

#include <gtest/gtest.h>

namespace aril::linux_abi {
namespace {

TEST(TimerState, OneShot) {
  TimerState timer;
  EXPECT_EQ(timer.take(Instant{1'000'000}), 0u);
  timer.set(Instant{100}, {});
  EXPECT_EQ(timer.remaining(Instant{40}).ns, 60);
  EXPECT_EQ(timer.take(Instant{99}), 0u);
  EXPECT_EQ(timer.take(Instant{100}), 1u);
  EXPECT_EQ(timer.take(Instant{1000}), 0u);
  EXPECT_EQ(timer.remaining(Instant{1000}).ns, 0);
}

TEST(TimerState, PeriodicCountsWhatWasMissed) {
  TimerState timer;
  timer.set(Instant{100}, Duration{10});
  EXPECT_EQ(timer.remaining(Instant{125}).ns, 5);
  EXPECT_EQ(timer.take(Instant{125}), 3u);
  EXPECT_EQ(timer.next().ns, 130);
  EXPECT_EQ(timer.take(Instant{129}), 0u);
  EXPECT_EQ(timer.take(Instant{130}), 1u);
}

TEST(TimerState, FarFutureDoesNotOverflow) {
  TimerState timer;
  timer.set(Instant{1}, Duration::infinite());
  EXPECT_EQ(timer.take(Instant{5}), 1u);
  EXPECT_EQ(timer.next(), Instant::never());
}

}  // namespace
}  // namespace aril::linux_abi
