#pragma once
#include <cstdint>

#include "base/time.hpp"
#include "net/tcp/tcp_socket.hpp"

namespace aril::net {

/// [RFC 6298] retransmission timeout.
class RttEstimator {
 public:
  // Linux's bounds; the RFC's lower bound of 1 s is a SHOULD that nobody keeps.
  static constexpr Duration kMinRto = Duration::milliseconds(200);
  static constexpr Duration kMaxRto = Duration::seconds(120);
  static constexpr Duration kInitialRto = Duration::seconds(1);

  void sample(Duration rtt);
  /// [RFC 6298] 5.5
  void back_off() {
    if (backoff_ < 16) ++backoff_;
    compute();
  }
  void reset_backoff() {
    if (backoff_ == 0) return;
    backoff_ = 0;
    compute();
  }
  [[nodiscard]] Duration rto() const { return rto_; }
  [[nodiscard]] Duration smoothed() const { return smoothed_; }
  [[nodiscard]] Duration variation() const { return variation_; }
  [[nodiscard]] Duration minimum() const { return minimum_; }
  [[nodiscard]] bool has_sample() const { return smoothed_.ns != 0; }
  [[nodiscard]] unsigned backoff() const { return backoff_; }

 private:
  void compute();
  Duration smoothed_, variation_, minimum_;
  Duration rto_ = kInitialRto;
  uint8_t backoff_ = 0;
};

/// The congestion window, in bytes: slow start and NewReno [RFC 5681], or CUBIC [RFC 9438].
class CongestionWindow {
 public:
  static constexpr uint32_t kMaxWindow = 1u << 30;

  /// [RFC 6928]: ten segments.
  void start(uint32_t mss);
  void set_algorithm(CongestionControl algorithm) { algorithm_ = algorithm; }

  [[nodiscard]] uint32_t window() const { return window_; }
  [[nodiscard]] uint32_t threshold() const { return threshold_; }
  [[nodiscard]] bool in_slow_start() const { return window_ < threshold_; }

  /// New data was acknowledged while the window was what limited sending.
  void on_acknowledged(uint32_t bytes, uint32_t mss, Instant now, Duration rtt);
  /// Loss found by duplicate acknowledgments or SACK: the window for the recovery and after.
  void on_loss(uint32_t flight, uint32_t mss);
  /// The retransmission timer expired [RFC 5681] 3.1 (4). `is_first`: of this flight.
  void on_timeout(uint32_t flight, uint32_t mss, bool is_first);
  /// [RFC 5681] 4.1: nothing was sent for longer than the retransmission timeout.
  void on_idle(uint32_t mss);

 private:
  void cubic_increase(uint32_t bytes, uint32_t mss, Instant now, Duration rtt);
  uint32_t reduced(uint32_t flight, uint32_t mss);

  CongestionControl algorithm_ = CongestionControl::kCubic;
  uint32_t window_ = 0;
  uint32_t threshold_ = kMaxWindow;
  uint32_t fraction_ = 0;  // acknowledged bytes not yet turned into window growth
  // [RFC 9438] 4.1.2
  uint32_t window_max_ = 0, reno_window_ = 0, reno_fraction_ = 0, window_before_loss_ = 0;
  int64_t k_ms_ = 0;
  Instant epoch_start_;
  bool epoch_running_ = false;
};

}  // namespace aril::net
