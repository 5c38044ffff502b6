#include "transmit_log.hpp"

namespace aril::net {
namespace {

bool are_alike(const TransmitLog::Record& a, const TransmitLog::Record& b) {
  if (a.end != b.start || a.is_sacked != b.is_sacked) return false;
  // When it was sent no longer matters for what has arrived.
  return a.is_sacked || (a.is_lost == b.is_lost && a.sent_at == b.sent_at &&
                         a.was_retransmitted == b.was_retransmitted);
}

}  // namespace

void TransmitLog::sent(uint32_t start, uint32_t end, Instant now) {
  Record added{.start = start, .end = end, .sent_at = now};
  bool full = records_.size() >= kMaxRecords;
  if (!records_.empty() && (full || are_alike(records_.back(), added))) {
    Record& last = records_.back();
    if (last.is_sacked) sacked_ -= last.length();
    if (last.is_lost) lost_ -= last.length();
    last = {.start = last.start, .end = end, .sent_at = now};
    return;
  }
  if (records_.push_back(added) || records_.empty()) return;
  records_.back().end = end;
  records_.back().sent_at = now;
}

size_t TransmitLog::find(uint32_t sequence) const {
  size_t low = 0, high = records_.size();
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (sequence_at_most(records_[middle].end, sequence)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

bool TransmitLog::split(size_t index, uint32_t sequence) {
  if (records_.size() >= kMaxRecords || !records_.push_back({})) return false;
  for (size_t i = records_.size() - 1; i > index + 1; --i) records_[i] = records_[i - 1];
  records_[index + 1] = records_[index];
  records_[index].end = sequence;
  records_[index + 1].start = sequence;
  return true;
}

void TransmitLog::erase(size_t index) {
  for (size_t i = index; i + 1 < records_.size(); ++i) records_[i] = records_[i + 1];
  records_.pop_back();
}

size_t TransmitLog::merge(size_t index) {
  if (index + 1 < records_.size() && are_alike(records_[index], records_[index + 1])) {
    records_[index].end = records_[index + 1].end;
    erase(index + 1);
  }
  if (index == 0 || !are_alike(records_[index - 1], records_[index])) return 0;
  records_[index - 1].end = records_[index].end;
  erase(index);
  return 1;
}

void TransmitLog::retransmitted(uint32_t start, uint32_t end, Instant now) {
  size_t i = find(start);
  if (i < records_.size() && sequence_before(records_[i].start, start)) {
    if (!split(i, start)) return;
    ++i;
  }
  for (; i < records_.size() && sequence_before(records_[i].start, end); ++i) {
    if (records_[i].is_sacked) continue;
    // Without room for another record the whole counts as sent again: it is found lost later.
    if (sequence_after(records_[i].end, end)) (void)split(i, end);
    Record& record = records_[i];
    if (record.is_lost) lost_ -= record.length();
    record.is_lost = false;
    record.was_retransmitted = true;
    record.sent_at = now;
    i -= merge(i);
  }
}

void TransmitLog::mark_first_lost(uint32_t length) {
  if (records_.empty() || records_[0].is_sacked || records_[0].is_lost) return;
  if (records_[0].length() > length) (void)split(0, records_[0].start + length);
  records_[0].is_lost = true;
  lost_ += records_[0].length();
}

void TransmitLog::forget_losses() {
  for (size_t i = 0; i < records_.size(); ++i) records_[i].is_lost = false;
  lost_ = 0;
}

void TransmitLog::forget_sacks() {
  for (size_t i = 0; i < records_.size(); ++i) records_[i].is_sacked = false;
  sacked_ = 0;
}

void TransmitLog::clear() {
  records_.clear();
  sacked_ = lost_ = 0;
}

const TransmitLog::Record* TransmitLog::first_lost() const {
  if (lost_ == 0) return nullptr;
  for (size_t i = 0; i < records_.size(); ++i)
    if (records_[i].is_lost) return &records_[i];
  return nullptr;
}

uint32_t TransmitLog::retransmitting_bytes() const {
  uint32_t total = 0;
  for (size_t i = 0; i < records_.size(); ++i) {
    const Record& record = records_[i];
    if (record.was_retransmitted && !record.is_sacked && !record.is_lost) total += record.length();
  }
  return total;
}

}  // namespace aril::net
