#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

#include "net/buffer/block.hpp"
#include "net/buffer/siphash.hpp"
#include "net/buffer/timer_wheel.hpp"

namespace aril::net {
namespace {

TEST(BlockChain, TruncatesAndConsumes) {
  auto chain = BlockChain::allocate(10'000).value();
  EXPECT_EQ(chain.piece_count(), 3u);
  for (size_t i = 0, at = 0; i < 3; ++i)
    for (std::byte& byte : chain.piece(i).bytes()) byte = static_cast<std::byte>(at++ % 251);
  chain.truncate(9000);
  chain.consume(5000);
  EXPECT_EQ(chain.size(), 4000u);
  std::vector<std::byte> out(5000);
  EXPECT_EQ(chain.copy_to(out), 4000u);
  for (size_t i = 0; i < 4000; ++i) ASSERT_EQ(out[i], static_cast<std::byte>((5000 + i) % 251));
  chain.truncate(0);
  EXPECT_TRUE(chain.empty());
}

TEST(Ring, GrowsAndWraps) {
  Ring<int, 2> ring;
  int next = 0, expected = 0;
  std::mt19937 random(1);
  for (int i = 0; i < 10'000; ++i) {
    if (random() % 5 < 3) {
      ASSERT_TRUE(ring.push_back(next++).has_value());
    } else if (!ring.empty()) {
      ASSERT_EQ(ring.front(), expected++);
      ring.pop_front();
    }
    if (!ring.empty()) ASSERT_EQ(ring.back(), next - 1);
  }
  Ring<int, 2> moved = std::move(ring);
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(moved.front(), expected);
}

TEST(SipHash, MatchesThePaper) {  // appendix A of the paper, as far as whole words go
  SipKey key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  EXPECT_EQ(siphash(key, {0x0706050403020100}), 0x93f5f5799a932462u);
  EXPECT_EQ(siphash(key, {}), 0x726fdb47dd0e0e31u);
}

TEST(SipHash, HasAVariantOfFewerRounds) {  // as another implementation has it
  SipKey key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  EXPECT_EQ((siphash_rounds<1, 3>(key, {})), 0xabac0158050fc4dcu);
  EXPECT_EQ((siphash_rounds<1, 3>(key, {}, 0x03020100, 4)), 0xcf75576088d38328u);
}

struct Alarm {
  explicit Alarm(std::vector<Alarm*>& log) : timer(ring, this), log(log) {}
  static void ring(void* self) {
    auto* alarm = static_cast<Alarm*>(self);
    alarm->log.push_back(alarm);
  }
  WheelTimer timer;
  std::vector<Alarm*>& log;
  Instant deadline;
};

TEST(TimerWheel, FiresInTimeAndNeverEarly) {
  std::vector<Alarm*> log;
  std::vector<std::unique_ptr<Alarm>> alarms;
  std::mt19937_64 random(7);
  Instant now{123'456'789};
  TimerWheel wheel(now);
  size_t armed = 0;
  for (int i = 0; i < 500; ++i) {
    alarms.push_back(std::make_unique<Alarm>(log));
    // From nothing to eight hours, all magnitudes.
    alarms.back()->deadline =
        now + Duration{static_cast<int64_t>(random() % (1ull << (10 + i % 36)))};
    wheel.arm_by(alarms.back()->timer, alarms.back()->deadline);
    ++armed;
  }
  for (int i = 0; i < 100; ++i) {
    wheel.cancel(alarms[static_cast<size_t>(i) * 5]->timer);
    --armed;
  }
  size_t steps = 0;
  while (wheel.next_deadline() != Instant::never()) {
    ASSERT_GE(wheel.next_deadline(), now);
    now = wheel.next_deadline();
    log.clear();
    wheel.advance(now);
    for (Alarm* alarm : log) {
      EXPECT_LE(alarm->deadline, now);
      EXPECT_LE((now - alarm->deadline).ns, 2 << 20);
      --armed;
    }
    ASSERT_LT(++steps, 100'000u);
  }
  EXPECT_EQ(armed, 0u);
}

TEST(TimerWheel, JumpsFar) {
  std::vector<Alarm*> log;
  Alarm alarm(log);
  TimerWheel wheel(Instant{0});
  wheel.arm_by(alarm.timer, Instant{} + Duration::seconds(100'000));
  wheel.advance(Instant{} + Duration::seconds(99'000));
  EXPECT_TRUE(log.empty());
  wheel.advance(Instant{} + Duration::seconds(200'000));
  EXPECT_EQ(log.size(), 1u);
}

TEST(TimerWheel, IsExactAgainAfterAVainWakeUp) {
  std::vector<Alarm*> log;
  Alarm early(log), late(log);
  TimerWheel wheel(Instant{0});
  EXPECT_EQ(wheel.next_deadline(), Instant::never());
  wheel.arm_by(late.timer, Instant{} + Duration::seconds(10));
  wheel.arm_by(early.timer, Instant{} + Duration::milliseconds(5));
  wheel.cancel(early.timer);
  EXPECT_LE(wheel.next_deadline(), Instant{} + Duration::milliseconds(7));
  wheel.advance(Instant{} + Duration::milliseconds(7));
  EXPECT_GT(wheel.next_deadline(), Instant{} + Duration::seconds(5));
  wheel.advance(Instant{} + Duration::seconds(11));
  EXPECT_EQ(log.size(), 1u);
  EXPECT_EQ(wheel.next_deadline(), Instant::never());
}

TEST(BlockCache, KeepsWhatOnlyItUses) {
  BlockCache cache(Block::kShortCapacity, 1);
  RefPtr<Block> shared = *cache.allocate(), other = *cache.allocate(), kept = *cache.allocate();
  Block* first = kept.get();
  cache.recycle(RefPtr<Block>(shared));
  EXPECT_NE((*cache.allocate()).get(), shared.get());
  cache.recycle(std::move(kept));
  cache.recycle(std::move(other));  // one too many
  EXPECT_EQ((*cache.allocate()).get(), first);
  cache.recycle(*Block::allocate(Block::kCapacity));  // of another size
  EXPECT_EQ((*cache.allocate())->capacity(), Block::kShortCapacity);
}

TEST(TimerWheel, ArmsEarlierButNotLater) {
  std::vector<Alarm*> log;
  Alarm alarm(log);
  TimerWheel wheel(Instant{0});
  wheel.arm_by(alarm.timer, Instant{} + Duration::seconds(10));
  EXPECT_TRUE(alarm.timer.is_armed_by(Instant{} + Duration::seconds(20)));
  wheel.arm_by(alarm.timer, Instant{} + Duration::seconds(20));
  EXPECT_FALSE(alarm.timer.is_armed_by(Instant{} + Duration::seconds(5)));
  wheel.arm_by(alarm.timer, Instant{} + Duration::seconds(5));
  wheel.advance(Instant{} + Duration::seconds(6));
  EXPECT_EQ(log.size(), 1u);
  EXPECT_FALSE(alarm.timer.is_armed());
}

}  // namespace
}  // namespace aril::net
