#pragma once
#include <algorithm>
#include <cstddef>

#include "base/time.hpp"
#include "base/units.hpp"

namespace aril::net {

/// When a device is told of the frames that were queued for it. That costs more than a small frame
/// does, so when several frames came together, the answers to them leave together, as long as the
/// programs are quick to make them. Whoever received the frames waits for the CPU meanwhile: when
/// the programs sleep it gets its turn and tells the device of what is left.
///
/// Under the stack's lock; times are the stack's.
class AnswerBatch {
 public:
  static constexpr unsigned kMaxFrames = 16;
  static constexpr size_t kMaxBytes = 8 * kKiB;
  /// How late the next answer may come.
  static constexpr Duration kPatience = Duration::microseconds(300);

  /// So many frames were received, and the programs run now.
  void expect(unsigned answers, Instant now) {
    expected_ = std::min(answers, kMaxFrames);
    last_ = now;
  }
  /// The receiver runs: nothing has to wait.
  void expect_no_more() { expected_ = 0; }

  void add(size_t bytes, Instant now) {
    ++frames_;
    bytes_ += bytes;
    // Who took long for this one may for the next.
    was_late_ = now - last_ >= kPatience;
    last_ = now;
  }
  /// Something is queued, and nothing that is worth waiting for is about to follow.
  [[nodiscard]] bool is_due(Instant now) const {
    if (frames_ == 0) return false;
    return was_late_ || frames_ >= expected_ || bytes_ >= kMaxBytes || now - last_ >= kPatience;
  }
  [[nodiscard]] bool is_empty() const { return frames_ == 0; }
  /// The device was told.
  void clear() {
    expected_ -= std::min(expected_, frames_);
    frames_ = 0;
    bytes_ = 0;
    was_late_ = false;
  }

 private:
  unsigned expected_ = 0;  // further answers, at most
  unsigned frames_ = 0;
  size_t bytes_ = 0;
  bool was_late_ = false;  // the latest of them
  Instant last_;           // when the latest frame was queued, or the wait began
};

}  // namespace aril::net
