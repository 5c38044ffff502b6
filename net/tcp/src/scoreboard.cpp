#include "scoreboard.hpp"

#include <algorithm>

namespace aril::net {

uint32_t Scoreboard::add(uint32_t start, uint32_t end) {
  size_t first = 0;
  while (first < count_ && sequence_before(ranges_[first].end, start)) ++first;
  size_t last = first;
  uint32_t covered = 0;
  while (last < count_ && sequence_at_most(ranges_[last].start, end)) {
    covered += ranges_[last].end - ranges_[last].start;
    start = sequence_min(start, ranges_[last].start);
    end = sequence_max(end, ranges_[last].end);
    ++last;
  }
  if (first == last) {
    if (count_ == kMaxRanges) {
      if (first == count_) return 0;
      --count_;
    }
    std::copy_backward(ranges_.begin() + first, ranges_.begin() + count_,
                       ranges_.begin() + count_ + 1);
    ++count_;
  } else {
    std::copy(ranges_.begin() + last, ranges_.begin() + count_, ranges_.begin() + first + 1);
    count_ -= last - first - 1;
  }
  ranges_[first] = {start, end};
  return end - start - covered;
}

void Scoreboard::acknowledge(uint32_t una) {
  size_t gone = 0;
  while (gone < count_ && sequence_at_most(ranges_[gone].end, una)) ++gone;
  std::copy(ranges_.begin() + gone, ranges_.begin() + count_, ranges_.begin());
  count_ -= gone;
  if (count_ != 0) ranges_[0].start = sequence_max(ranges_[0].start, una);
}

uint32_t Scoreboard::bytes() const {
  uint32_t total = 0;
  for (size_t i = 0; i < count_; ++i) total += ranges_[i].end - ranges_[i].start;
  return total;
}

bool Scoreboard::next_hole(uint32_t una, uint32_t from, uint32_t mss, Hole& hole) const {
  uint32_t above = bytes();
  uint32_t start = una;
  for (size_t i = 0; i < count_; ++i) {
    uint32_t end = ranges_[i].start;
    if (sequence_before(sequence_max(start, from), end)) {
      hole = {sequence_max(start, from), end, count_ - i >= 3 || above > 2 * mss};
      return true;
    }
    start = ranges_[i].end;
    above -= ranges_[i].end - ranges_[i].start;
  }
  return false;
}

}  // namespace aril::net
