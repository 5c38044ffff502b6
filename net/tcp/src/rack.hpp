#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/time.hpp"
#include "transmit_log.hpp"

namespace aril::net {

/// What [RFC 8985] knows of the path: the newest segment that arrived, and how far segments
/// overtake each other. A segment is lost when one that was sent later has arrived, and it did not
/// within the time that reordering explains.
class Rack {
 public:
  /// A part was delivered for the first time. `echo_clock`: the peer's echo of our timestamp clock
  /// in milliseconds, when it sent one; `minimum`: the smallest round trip so far, zero for none.
  void on_delivered(const TransmitLog::Record& record, Instant now, Duration minimum,
                    std::optional<uint32_t> echo_clock);
  /// The peer reported that it got something twice [RFC 8985] 6.2 step 4: we were too quick.
  void on_duplicate_report(uint32_t una, uint32_t next);
  void on_recovery_end();
  /// Reordering that something else found.
  void note_reordering() { reordering_seen_ = true; }

  /// How long after the newest arrival a segment may still come. `is_certain`: enough was
  /// reported, or recovery runs already, to do without waiting when nothing was ever reordered.
  [[nodiscard]] Duration window(Duration minimum, Duration smoothed, bool is_certain) const;
  /// Was `record` sent before the newest segment that arrived?
  [[nodiscard]] bool was_overtaken(const TransmitLog::Record& record) const {
    if (!has_arrival_) return false;
    return record.sent_at < sent_at_ ||
           (record.sent_at == sent_at_ && sequence_before(record.end, end_));
  }
  /// What is left until `record` counts as lost; not positive: it does.
  [[nodiscard]] Duration time_left(const TransmitLog::Record& record, Instant now,
                                   Duration window) const {
    return record.sent_at + rtt_ + window - now;
  }
  [[nodiscard]] Duration rtt() const { return rtt_; }
  [[nodiscard]] bool reordering_seen() const { return reordering_seen_; }

 private:
  static constexpr uint8_t kPersist = 16;  // recoveries that a wider window lasts

  Instant sent_at_;
  Duration rtt_;
  uint32_t end_ = 0, highest_ = 0;
  uint32_t report_round_ = 0;
  uint8_t multiplier_ = 1, persist_ = 0;
  bool has_arrival_ = false, in_report_round_ = false, reordering_seen_ = false;
};

}  // namespace aril::net
