#include "rack.hpp"

namespace aril::net {

// [RFC 8985] 6.2, steps 2 and 3.
void Rack::on_delivered(const TransmitLog::Record& record, Instant now, Duration minimum,
                        std::optional<uint32_t> echo_clock) {
  if (!has_arrival_ || sequence_after(record.end, highest_)) {
    highest_ = record.end;
  } else if (sequence_before(record.end, highest_) && !record.was_retransmitted) {
    reordering_seen_ = true;
  }
  Duration rtt = now - record.sent_at;
  if (record.was_retransmitted) {
    // Which of the two transmissions arrived? What cannot be the last one says nothing of when.
    auto clock = static_cast<uint32_t>(record.sent_at.ns / 1'000'000);
    if (echo_clock ? sequence_before(*echo_clock, clock) : rtt < minimum) return;
  }
  rtt_ = rtt;
  bool is_newer = !has_arrival_ || sent_at_ < record.sent_at ||
                  (sent_at_ == record.sent_at && sequence_before(end_, record.end));
  if (!is_newer) return;
  has_arrival_ = true;
  sent_at_ = record.sent_at;
  end_ = record.end;
}

void Rack::on_duplicate_report(uint32_t una, uint32_t next) {
  if (in_report_round_ && sequence_before(una, report_round_)) return;
  in_report_round_ = true;
  report_round_ = next;
  multiplier_ = static_cast<uint8_t>(std::min(multiplier_ + 1, 255));
  persist_ = kPersist;
}

void Rack::on_recovery_end() {
  if (persist_ == 0 || --persist_ != 0) return;
  multiplier_ = 1;
}

Duration Rack::window(Duration minimum, Duration smoothed, bool is_certain) const {
  if (!reordering_seen_ && is_certain) return {};
  if (minimum.ns == 0) minimum = rtt_;
  return std::min(minimum * multiplier_ / 4, std::max(smoothed, minimum));
}

}  // namespace aril::net
