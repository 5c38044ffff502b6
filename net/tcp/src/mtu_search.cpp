#include <algorithm>
#include <utility>

#include "connection.hpp"

/// The way back up after a black hole has made segments small: one segment at a time is larger, and
/// what is acknowledged gets through [RFC 4821] 7, [RFC 8899] 5.3.
namespace aril::net {
namespace {
/// Linux's tcp_probe_threshold and tcp_probe_interval: how closely is close enough, and when the
/// path may have changed.
constexpr uint32_t kThreshold = 8;
constexpr Duration kInterval = Duration::seconds(600);
/// Segments behind the probe, so that its loss is noticed without a timeout.
constexpr uint32_t kFollowers = 4;
}  // namespace

uint32_t TcpConnection::largest_packet() const {
  const Interface& link = *route_.interface;
  uint32_t largest = key.remote.address.is_v4() ? link.mtu() : link.ipv6_mtu();
  uint32_t segment = peer_mss_;
  if (options_.max_segment != 0) segment = std::min<uint32_t>(segment, options_.max_segment);
  return std::min(largest, segment + header_size());
}

void TcpConnection::start_mtu_search(Instant when) {
  mtu_search_ = {.high = largest_packet(), .next = when};
  mtu_search_.tries_largest = true;
}

void TcpConnection::probe_mtu() {
  MtuSearch& search = mtu_search_;
  if (search.probe != 0 || context_.now < search.next) return;
  bool is_calm = sack_ && recovery_ == Recovery::kNone && log_.sacked_bytes() == 0 &&
                 log_.lost_bytes() == 0 && !announce_reduction_;
  if (!is_calm) return;
  if (search.high < path_mtu_ + kThreshold) {
    start_mtu_search(context_.now + kInterval);
    if (search.high <= path_mtu_) search = {};
    return;
  }
  // The largest first: mostly the hole is gone, or was none.
  uint32_t size = search.tries_largest ? search.high : (path_mtu_ + search.high + 1) / 2;
  uint32_t wanted = mss_ + (size - path_mtu_), needed = wanted + kFollowers * mss_;
  uint32_t window_end = send_unacknowledged_ + send_window_;
  uint32_t window = sequence_after(window_end, send_next_) ? window_end - send_next_ : 0;
  uint32_t in_network = pipe();
  uint32_t room = sending_window() > in_network ? sending_window() - in_network : 0;
  bool is_followed = std::min({queued_.end() - send_next_, window, sending_window()}) >= needed;
  if (!is_followed || room < wanted) return;
  uint32_t usual = std::exchange(mss_, wanted), start = send_next_;
  uint32_t sent = transmit(start, wanted, TcpFlags::kNone);
  mss_ = usual;
  if (sent <= usual) return;
  search.probe = path_mtu_ + (sent - usual);
  search.probe_start = start;
  search.probe_end = start + sent;
}

void TcpConnection::mtu_probe_arrived() {
  uint32_t size = std::exchange(mtu_search_.probe, 0);
  context_.counters.add(Counter::kTcpExtTCPMTUPSuccess);
  if (size <= path_mtu_) return;
  layer_.ip_.note_path_mtu(key.remote.address, size);
  follow_path_mtu();
}

void TcpConnection::mtu_probe_lost() {
  context_.counters.add(Counter::kTcpExtTCPMTUPFail);
  uint32_t size = std::exchange(mtu_search_.probe, 0);
  mtu_search_.high = std::min(mtu_search_.high, size - 1);
  mtu_search_.tries_largest = false;
}

bool TcpConnection::is_only_mtu_probe_lost() const {
  if (mtu_search_.probe == 0) return false;
  const TransmitLog::Record* lost = log_.first_lost();
  return lost != nullptr && lost->start == mtu_search_.probe_start &&
         log_.lost_bytes() == mtu_search_.probe_end - mtu_search_.probe_start;
}

}  // namespace aril::net
