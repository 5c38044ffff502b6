#include "congestion.hpp"

#include <algorithm>

namespace aril::net {

void RttEstimator::sample(Duration rtt) {
  rtt.ns = std::max<int64_t>(rtt.ns, 1000);
  if (!has_sample()) {
    smoothed_ = minimum_ = rtt;
    variation_ = rtt / 2;
  } else {
    int64_t error = smoothed_.ns > rtt.ns ? smoothed_.ns - rtt.ns : rtt.ns - smoothed_.ns;
    variation_.ns += (error - variation_.ns) / 4;
    smoothed_.ns += (rtt.ns - smoothed_.ns) / 8;
    minimum_ = std::min(minimum_, rtt);
  }
  compute();
}

void RttEstimator::compute() {
  Duration base = kInitialRto;
  // The variation's share never drops below the minimum, so that a steady path's delayed
  // acknowledgment does not look like a loss.
  if (has_sample()) base = smoothed_ + std::max(variation_ * 4, kMinRto);
  rto_ = std::min(base * (int64_t{1} << backoff_), kMaxRto);
}

void CongestionWindow::start(uint32_t mss) { window_ = 10 * mss; }

void CongestionWindow::on_acknowledged(uint32_t bytes, uint32_t mss, Instant now, Duration rtt) {
  if (in_slow_start()) {
    uint32_t room = threshold_ - window_;
    uint32_t grown = std::min(bytes, room);
    window_ = std::min(window_ + grown, kMaxWindow);
    bytes -= grown;
    if (bytes == 0) return;
  }
  if (algorithm_ == CongestionControl::kCubic) return cubic_increase(bytes, mss, now, rtt);
  fraction_ += bytes;
  if (fraction_ >= window_) {
    fraction_ -= window_;
    window_ = std::min(window_ + mss, kMaxWindow);
  }
}

namespace {

int64_t cube_root(int64_t value) {
  int64_t low = 0, high = 2'000'000;
  while (low < high) {
    int64_t middle = (low + high + 1) / 2;
    if (middle * middle * middle <= value) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

}  // namespace

// [RFC 9438] 4.2 to 4.5, with C = 0.4 and time in milliseconds: W(t) = C (t - K)^3 + W_max.
void CongestionWindow::cubic_increase(uint32_t bytes, uint32_t mss, Instant now, Duration rtt) {
  if (!epoch_running_) {
    epoch_running_ = true;
    epoch_start_ = now;
    if (window_max_ < window_) window_max_ = window_;
    // K^3 [ms^3] = (W_max - cwnd) [segments] / 0.4 * 10^9
    k_ms_ = cube_root(int64_t{window_max_ - window_} * 2'500'000'000 / mss);
    reno_window_ = window_;
    reno_fraction_ = 0;
  }
  int64_t elapsed = ((now - epoch_start_) + rtt).ns / 1'000'000 - k_ms_;
  elapsed = std::clamp<int64_t>(elapsed, -60'000, 60'000);
  int64_t offset = elapsed * elapsed * elapsed / 1'000'000 * 4 / 10 * mss / 1000;
  int64_t target = std::clamp<int64_t>(window_max_ + offset, window_, window_ + window_ / 2);

  // 4.3: never slower than Reno would be: alpha = 3 (1 - 0.7) / (1 + 0.7) = 9 / 17, and 1 from
  // where Reno, which had lost half of its window instead of 0.3, would be as well.
  bool has_recovered = reno_window_ >= window_before_loss_;
  reno_fraction_ += has_recovered ? bytes : static_cast<uint32_t>(uint64_t{bytes} * 9 / 17);
  if (reno_fraction_ >= reno_window_) {
    reno_fraction_ -= reno_window_;
    reno_window_ = std::min(reno_window_ + mss, kMaxWindow);
  }
  // 4.4: (target - cwnd) / cwnd segments for every acknowledged segment.
  int64_t growth = (target - window_) * bytes + fraction_;
  fraction_ = static_cast<uint32_t>(growth % window_);
  int64_t next = std::max<int64_t>(window_ + growth / window_, reno_window_);
  window_ = static_cast<uint32_t>(std::min<int64_t>(next, kMaxWindow));
}

uint32_t CongestionWindow::reduced(uint32_t flight, uint32_t mss) {
  epoch_running_ = false;
  fraction_ = 0;
  if (algorithm_ == CongestionControl::kReno) return std::max(flight / 2, 2 * mss);
  // [RFC 9438] 4.6, 4.7: beta is 0.7; fast convergence gives up room when the maximum shrank. It is
  // taken of the window, as with Linux, not of the flight, which is smaller by the segment that did
  // not fit any more: 4.6 allows that to a window that only grows when it limits sending.
  window_before_loss_ = window_;
  window_max_ =
      window_ < window_max_ ? static_cast<uint32_t>(uint64_t{window_} * 17 / 20) : window_;
  return std::max(static_cast<uint32_t>(uint64_t{window_} * 7 / 10), 2 * mss);
}

void CongestionWindow::on_loss(uint32_t flight, uint32_t mss) {
  threshold_ = reduced(std::min(flight, window_), mss);
  window_ = threshold_;
}

void CongestionWindow::on_timeout(uint32_t flight, uint32_t mss, bool is_first) {
  if (is_first) threshold_ = reduced(std::min(flight, window_), mss);
  window_ = mss;
}

void CongestionWindow::on_idle(uint32_t mss) {
  window_ = std::min(window_, 10 * mss);
  epoch_running_ = false;
}

}  // namespace aril::net
