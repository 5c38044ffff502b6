// The log of transmissions against a model that knows every byte.
#include "../src/transmit_log.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace aril::net {
namespace {

struct Byte {
  bool is_sacked = false, is_lost = false;
  int64_t sent_at = 0;
};

/// Sequence numbers start shortly before they wrap.
constexpr uint32_t kFirst = 0xfffffc00;

class Model {
 public:
  explicit Model(uint32_t seed) : random_(seed) {}

  void step() {
    ++now_;
    switch (random_() % 5) {
      case 0:
        return send();
      case 1:
        return acknowledge();
      case 2:
        return sack();
      case 3:
        return lose();
      default:
        return retransmit();
    }
  }

  void check() const {
    uint32_t sacked = 0, lost = 0, first_lost = 0;
    bool any = false;
    for (size_t i = una_; i < bytes_.size(); ++i) {
      sacked += bytes_[i].is_sacked;
      lost += bytes_[i].is_lost;
      if (bytes_[i].is_lost && !any) first_lost = kFirst + static_cast<uint32_t>(i);
      any |= bytes_[i].is_lost;
    }
    ASSERT_EQ(log_.sacked_bytes(), sacked);
    ASSERT_EQ(log_.lost_bytes(), lost);
    const TransmitLog::Record* record = log_.first_lost();
    ASSERT_EQ(record != nullptr, any);
    if (any) ASSERT_EQ(record->start, first_lost);
  }

 private:
  size_t pick(size_t low, size_t high) { return low + random_() % (high - low + 1); }
  static uint32_t number(size_t at) { return kFirst + static_cast<uint32_t>(at); }
  void send() {
    size_t length = pick(1, 40);
    log_.sent(number(bytes_.size()), number(bytes_.size() + length), Instant{now_});
    bytes_.resize(bytes_.size() + length, Byte{.sent_at = now_});
  }
  void acknowledge() {
    size_t to = pick(una_, std::min(bytes_.size(), una_ + 60));
    uint32_t delivered = 0, expected = 0;
    for (size_t i = una_; i < to; ++i) expected += !bytes_[i].is_sacked;
    log_.acknowledge(number(to),
                     [&](const TransmitLog::Record& record) { delivered += record.length(); });
    EXPECT_EQ(delivered, expected);
    una_ = to;
  }
  void sack() {
    if (bytes_.size() - una_ < 2) return;
    size_t from = pick(una_ + 1, bytes_.size() - 1), to = pick(from + 1, bytes_.size());
    uint32_t delivered = 0, expected = 0;
    for (size_t i = from; i < to; ++i) {
      expected += !bytes_[i].is_sacked;
      bytes_[i].is_sacked = true;
      bytes_[i].is_lost = false;
    }
    log_.sack(number(from), number(to),
              [&](const TransmitLog::Record& record) { delivered += record.length(); });
    EXPECT_EQ(delivered, expected);
  }
  void lose() {
    int64_t before = now_ - static_cast<int64_t>(random_() % 30);
    for (size_t i = una_; i < bytes_.size(); ++i)
      bytes_[i].is_lost |= !bytes_[i].is_sacked && bytes_[i].sent_at < before;
    (void)log_.mark_lost(
        [&](const TransmitLog::Record& record) { return record.sent_at.ns < before; });
  }
  void retransmit() {
    const TransmitLog::Record* record = log_.first_lost();
    if (record == nullptr) return;
    uint32_t start = record->start;
    auto length = static_cast<uint32_t>(pick(1, record->length()));
    for (uint32_t i = 0; i < length; ++i) {
      bytes_[start - kFirst + i].is_lost = false;
      bytes_[start - kFirst + i].sent_at = now_;
    }
    log_.retransmitted(start, start + length, Instant{now_});
  }

  std::mt19937 random_;
  int64_t now_ = 0;
  TransmitLog log_;
  std::vector<Byte> bytes_;
  size_t una_ = 0;
};

TEST(TransmitLog, AgreesWithAModel) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    Model model(seed);
    for (int i = 0; i < 400; ++i) {
      model.step();
      ASSERT_NO_FATAL_FAILURE(model.check()) << "seed " << seed << ", step " << i;
    }
  }
}

TEST(TransmitLog, KeepsToItsBound) {
  TransmitLog log;
  for (uint32_t i = 0; i < 3 * TransmitLog::kMaxRecords; ++i) log.sent(i, i + 1, Instant{i});
  EXPECT_LE(log.record_count(), TransmitLog::kMaxRecords);
  // Every second byte: there is no room to tell them all apart.
  for (uint32_t i = 1; i < 2 * TransmitLog::kMaxRecords; i += 2)
    log.sack(i, i + 1, [](const TransmitLog::Record&) {});
  EXPECT_LE(log.record_count(), TransmitLog::kMaxRecords);
  log.acknowledge(3 * TransmitLog::kMaxRecords, [](const TransmitLog::Record&) {});
  EXPECT_TRUE(log.empty());
  EXPECT_EQ(log.sacked_bytes(), 0u);
}

TEST(TransmitLog, SteadyFlowIsOneRecord) {
  TransmitLog log;
  for (uint32_t i = 0; i < 100; ++i) log.sent(i * 1000, (i + 1) * 1000, Instant{5});
  EXPECT_EQ(log.record_count(), 1u);
}

}  // namespace
}  // namespace aril::net
