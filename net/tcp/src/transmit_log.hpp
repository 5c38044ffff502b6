#pragma once
#include <cstddef>
#include <cstdint>

#include "base/time.hpp"
#include "net/buffer/ring.hpp"
#include "net/wire/tcp.hpp"

namespace aril::net {

/// What was sent and is not acknowledged cumulatively: when each part was sent last, and what is
/// known of its fate [RFC 8985] 5.1, [RFC 6675] 3. Parts that share their whole state are one
/// record, so that a steady flow needs few.
///
/// Nothing here fails: when there is no memory, or there are too many records, neighbours are
/// treated alike, which can only delay a retransmission or repeat one.
class TransmitLog {
 public:
  static constexpr size_t kMaxRecords = 2048;

  struct Record {
    uint32_t start = 0, end = 0;  ///< [start, end)
    bool is_sacked = false;
    bool is_lost = false;  ///< and not sent again since that was found
    bool was_retransmitted = false;
    Instant sent_at;

    [[nodiscard]] uint32_t length() const { return end - start; }
  };

  /// New data, or a FIN, at the end.
  void sent(uint32_t start, uint32_t end, Instant now);
  /// A part that was sent before; it is in the network again.
  void retransmitted(uint32_t start, uint32_t end, Instant now);
  /// Forgets what lies before `una`. Calls `delivered(record)` for every part that was not reported
  /// by SACK before.
  template <typename Delivered>
  void acknowledge(uint32_t una, Delivered delivered) {
    while (!records_.empty() && sequence_at_most(records_.front().end, una)) {
      Record record = records_.front();
      discount(record);
      records_.pop_front();
      if (!record.is_sacked) delivered(record);
    }
    if (records_.empty() || !sequence_before(records_.front().start, una)) return;
    Record& front = records_.front();
    Record part = front;
    part.end = una;
    discount(part);
    front.start = una;
    if (!part.is_sacked) delivered(part);
  }
  /// The peer reported [start, end). Calls `delivered(record)` for every part that is new.
  template <typename Delivered>
  void sack(uint32_t start, uint32_t end, Delivered delivered) {
    size_t i = find(start);
    if (i < records_.size() && sequence_before(records_[i].start, start)) {
      if (!records_[i].is_sacked) (void)split(i, start);
      ++i;
    }
    for (; i < records_.size() && sequence_before(records_[i].start, end); ++i) {
      if (records_[i].is_sacked) continue;
      if (sequence_after(records_[i].end, end) && !split(i, end)) return;
      discount(records_[i]);
      records_[i].is_sacked = true;
      records_[i].is_lost = false;
      sacked_ += records_[i].length();
      delivered(records_[i]);
      i -= merge(i);
    }
  }
  /// Marks what is in the network and for which `is_lost(record)` holds; the number of bytes.
  template <typename Predicate>
  uint32_t mark_lost(Predicate is_lost) {
    uint32_t bytes = 0;
    for (size_t i = 0; i < records_.size(); ++i) {
      Record& record = records_[i];
      if (record.is_sacked || record.is_lost || !is_lost(record)) continue;
      record.is_lost = true;
      bytes += record.length();
    }
    lost_ += bytes;
    return bytes;
  }
  /// Of the first part alone.
  void mark_first_lost(uint32_t length);
  /// The losses were none.
  void forget_losses();
  /// The peer may have thrown away what it reported [RFC 2018] 8.
  void forget_sacks();
  void clear();

  /// The first part that is lost, or null.
  [[nodiscard]] const Record* first_lost() const;
  [[nodiscard]] uint32_t sacked_bytes() const { return sacked_; }
  [[nodiscard]] uint32_t lost_bytes() const { return lost_; }
  /// Sent more than once and on its way.
  [[nodiscard]] uint32_t retransmitting_bytes() const;
  [[nodiscard]] bool is_first_sacked() const { return !empty() && records_[0].is_sacked; }
  [[nodiscard]] bool empty() const { return records_.empty(); }
  [[nodiscard]] size_t record_count() const { return records_.size(); }

 private:
  void discount(const Record& record) {
    if (record.is_sacked) sacked_ -= record.length();
    if (record.is_lost) lost_ -= record.length();
  }
  /// The record that holds `sequence`, or the first after it.
  [[nodiscard]] size_t find(uint32_t sequence) const;
  /// Cuts a record in two at `sequence`. False when there is no room.
  bool split(size_t index, uint32_t sequence);
  void erase(size_t index);
  /// Joins a record with its neighbours when they are alike; how far it moved down.
  size_t merge(size_t index);

  Ring<Record, 2> records_;
  uint32_t sacked_ = 0, lost_ = 0;
};

}  // namespace aril::net
