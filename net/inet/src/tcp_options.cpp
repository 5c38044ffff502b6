#include <algorithm>
#include <bit>
#include <type_traits>

#include "base/image_use.hpp"
#include "net/socket/option_names.hpp"
#include "tcp_file.hpp"

namespace aril::net {

namespace {

/// struct tcp_info of Linux 6.1.
struct LinuxTcpInfo {
  uint8_t state, ca_state, retransmits, probes, backoff, options, window_scales, rate_flags;
  uint32_t rto, ato, snd_mss, rcv_mss;
  uint32_t unacked, sacked, lost, retrans, fackets;
  uint32_t last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
  uint32_t pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
  uint32_t rcv_rtt, rcv_space, total_retrans;
  uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
  uint32_t segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
  uint64_t delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
  uint32_t delivered, delivered_ce;
  uint64_t bytes_sent, bytes_retrans;
  uint32_t dsack_dups, reord_seen, rcv_ooopack, snd_wnd;
};
static_assert(sizeof(LinuxTcpInfo) == 232);

LinuxTcpInfo to_linux(const TcpInfo& info) {
  LinuxTcpInfo out{};
  out.state = static_cast<uint8_t>(info.state);
  out.ca_state = info.congestion_state;
  out.retransmits = info.retransmits;
  out.probes = info.probes;
  out.backoff = info.backoff;
  out.options = static_cast<uint8_t>(info.timestamps | info.sack << 1 | info.window_scaling << 2 |
                                     info.ecn << 3 | info.syn_data << 5);
  out.rate_flags = static_cast<uint8_t>(info.fast_open_failure << 1);
  out.window_scales = static_cast<uint8_t>((info.send_scale & 0xf) | info.receive_scale << 4);
  out.rto = info.rto_us;
  out.ato = info.ack_timeout_us;
  out.snd_mss = info.send_mss;
  out.rcv_mss = info.receive_mss;
  out.unacked = info.unacked;
  out.sacked = info.sacked;
  out.lost = info.lost;
  out.retrans = info.retransmitting;
  out.last_data_sent = info.last_data_sent_ms;
  out.last_data_recv = info.last_data_received_ms;
  out.last_ack_recv = info.last_ack_received_ms;
  out.pmtu = info.path_mtu;
  out.rcv_ssthresh = info.receive_slow_start_threshold;
  out.rtt = info.rtt_us;
  out.rttvar = info.rtt_variance_us;
  out.snd_ssthresh = info.slow_start_threshold;
  out.snd_cwnd = info.congestion_window;
  out.advmss = info.advertised_mss;
  out.reordering = 3;
  out.rcv_rtt = info.receive_rtt_us;
  out.rcv_space = info.receive_space;
  out.total_retrans = info.total_retransmits;
  out.bytes_acked = info.bytes_acked;
  out.bytes_received = info.bytes_received;
  out.segs_out = info.segments_out;
  out.segs_in = info.segments_in;
  out.notsent_bytes = info.not_sent_bytes;
  out.min_rtt = info.min_rtt_us;
  out.data_segs_in = info.data_segments_in;
  out.data_segs_out = info.data_segments_out;
  out.bytes_sent = info.bytes_sent;
  out.bytes_retrans = info.bytes_retransmitted;
  out.snd_wnd = info.send_window;
  return out;
}

static_assert(std::is_same_v<LinuxTcpInfoBytes, std::array<std::byte, sizeof(LinuxTcpInfo)>>);

constexpr int32_t kMaxKeepSeconds = 32767, kMaxKeepCount = 127;

Result<int32_t> in_range(int32_t value, int32_t low, int32_t high) {
  if (value < low || value > high) return fail(Errno::kInval);
  return value;
}

int32_t to_seconds(Duration duration) { return static_cast<int32_t>(duration.ns / 1'000'000'000); }

}  // namespace

LinuxTcpInfoBytes linux_tcp_info(const TcpInfo& info) {
  return std::bit_cast<LinuxTcpInfoBytes>(to_linux(info));
}

TcpOptions TcpFile::tcp_options() {
  Runtime::Guard guard(runtime_);
  return handle_->options();
}

template <typename Change>
Result<void> TcpFile::change_options(Change change) {
  Runtime::Guard guard(runtime_);
  change(handle_->options_to_change());
  handle_->options_changed();
  return {};
}

Result<void> TcpFile::apply_options() {
  return change_options([&](TcpOptions& tcp) {
    tcp.keep_alive = options_.keep_alive;
    tcp.reuse_address = options_.reuse_address;
    tcp.reuse_port = options_.reuse_port;
    tcp.linger = options_.linger;
    tcp.linger_time = options_.linger_time;
    tcp.send_buffer = options_.send_buffer;
    tcp.receive_buffer = options_.receive_buffer;
    tcp.receive_low_water = static_cast<uint32_t>(options_.receive_low_water);
    tcp.interface = options_.interface;
  });
}

uint32_t TcpFile::default_buffer(bool send) const {
  Runtime::Guard guard(runtime_);
  return send ? handle_->send_buffer_size() : handle_->receive_buffer_size();
}

Result<void> TcpFile::set_protocol_option(int level, int name, std::span<const std::byte> value) {
  if (level == SOL_SOCKET && name == SO_BINDTODEVICE) {
    options_.interface = ARIL_TRY(interface_index(value));
    return apply_options();
  }
  if (level == SOL_TCP && ARIL_HAS_USE(tcp_options)) return set_tcp_option(name, value);
  if (level == SOL_IP && ARIL_HAS_USE(ip_options)) return set_ip_option(name, value);
  if (level == SOL_IPV6 && family() == Family::kInet6) return set_ipv6_option(name, value);
  return fail(Errno::kNoProtoOpt);
}

ARIL_ONLY_FOR(getsockopt)
Result<OptionValue> TcpFile::get_protocol_option(int level, int name) {
  if (level == SOL_SOCKET && name == SO_BINDTODEVICE) return interface_name();
  if (level == SOL_TCP) return get_tcp_option(name);
  if (level == SOL_IP) return get_ip_option(name);
  if (level == SOL_IPV6 && family() == Family::kInet6) return get_ipv6_option(name);
  // [Linux tcp_setsockopt] another level is not supported, as opposed to an unknown option.
  return fail(level == SOL_SOCKET ? Errno::kNoProtoOpt : Errno::kOpNotSupp);
}

ARIL_ONLY_FOR(tcp_options)
Result<void> TcpFile::set_tcp_option(int name, std::span<const std::byte> value) {
  if (name == TCP_CONGESTION) {
    std::string_view text(reinterpret_cast<const char*>(value.data()), value.size());
    text = text.substr(0, text.find('\0'));
    if (text != "cubic" && text != "reno") return fail(Errno::kNoEnt);
    auto control = text == "cubic" ? CongestionControl::kCubic : CongestionControl::kReno;
    return change_options([&](TcpOptions& tcp) { tcp.congestion = control; });
  }
  if (kHasFastOpen && name == TCP_FASTOPEN_KEY) {
    Runtime::Guard guard(runtime_);
    return handle_->set_fast_open_keys(value);
  }
  int32_t number = ARIL_TRY(option_int(value));
  auto change = [&](auto apply) { return change_options(apply); };
  switch (name) {
    case TCP_NODELAY:
      return change([&](TcpOptions& tcp) { tcp.no_delay = number != 0; });
    case TCP_CORK:
      return change([&](TcpOptions& tcp) { tcp.cork = number != 0; });
    case TCP_QUICKACK:
      return change([&](TcpOptions& tcp) { tcp.quick_ack = number != 0; });
    case TCP_MAXSEG:
      if (number != 0) ARIL_TRY(in_range(number, 88, 32767));
      return change([&](TcpOptions& tcp) { tcp.max_segment = static_cast<uint16_t>(number); });
    case TCP_KEEPIDLE:
      ARIL_TRY(in_range(number, 1, kMaxKeepSeconds));
      return change([&](TcpOptions& tcp) { tcp.keep_idle = Duration::seconds(number); });
    case TCP_KEEPINTVL:
      ARIL_TRY(in_range(number, 1, kMaxKeepSeconds));
      return change([&](TcpOptions& tcp) { tcp.keep_interval = Duration::seconds(number); });
    case TCP_KEEPCNT:
      ARIL_TRY(in_range(number, 1, kMaxKeepCount));
      return change([&](TcpOptions& tcp) { tcp.keep_count = static_cast<uint8_t>(number); });
    case TCP_SYNCNT:
      ARIL_TRY(in_range(number, 1, kMaxKeepCount));
      return change([&](TcpOptions& tcp) { tcp.syn_retries = static_cast<uint8_t>(number); });
    case TCP_LINGER2:
      return change([&](TcpOptions& tcp) {
        tcp.fin_wait2_timeout = Duration::seconds(number < 0 ? 0 : number == 0 ? 60 : number);
      });
    case TCP_DEFER_ACCEPT:
      return change(
          [&](TcpOptions& tcp) { tcp.defer_accept = Duration::seconds(std::max(number, 0)); });
    case TCP_USER_TIMEOUT:
      if (number < 0) return fail(Errno::kInval);
      return change([&](TcpOptions& tcp) { tcp.user_timeout = Duration::milliseconds(number); });
    case TCP_NOTSENT_LOWAT:
      return change(
          [&](TcpOptions& tcp) { tcp.not_sent_low_water = static_cast<uint32_t>(number); });
    case TCP_WINDOW_CLAMP:
    case TCP_THIN_LINEAR_TIMEOUTS:
    case TCP_THIN_DUPACK:
      return {};
    case TCP_FASTOPEN:
    case TCP_FASTOPEN_CONNECT:
    case TCP_FASTOPEN_NO_COOKIE:
      return kHasFastOpen ? set_fast_open_option(name, number) : fail(Errno::kOpNotSupp);
    default:
      return fail(Errno::kNoProtoOpt);
  }
}

// As Linux's do_tcp_setsockopt.
Result<void> TcpFile::set_fast_open_option(int name, int32_t value) {
  Runtime::Guard guard(runtime_);
  TcpState state = handle_->state();
  bool unconnected = state == TcpState::kClosed || state == TcpState::kListen;
  TcpOptions options = handle_->options();
  if (name == TCP_FASTOPEN) {
    if (value < 0 || !unconnected) return fail(Errno::kInval);
    options.fast_open_queue = std::min<uint32_t>(static_cast<uint32_t>(value), kMaxBacklog);
    return handle_->set_options(options);
  }
  ARIL_TRY(in_range(value, 0, 1));
  if (name == TCP_FASTOPEN_NO_COOKIE) {
    if (!unconnected) return fail(Errno::kInval);
    options.fast_open_without_cookie = value != 0;
    return handle_->set_options(options);
  }
  if (!has(guard->tcp().fast_open().mode, FastOpenMode::kClient)) return fail(Errno::kOpNotSupp);
  if (state != TcpState::kClosed) return fail(Errno::kInval);
  options.fast_open_connect = value != 0;
  may_defer_ = value != 0;
  return handle_->set_options(options);
}

Result<OptionValue> TcpFile::get_tcp_option(int name) {
  auto number = [](int64_t value) { return OptionValue::of(static_cast<int32_t>(value)); };
  TcpOptions tcp = tcp_options();
  switch (name) {
    case TCP_NODELAY:
      return number(tcp.no_delay);
    case TCP_CORK:
      return number(tcp.cork);
    case TCP_QUICKACK:
      return number(tcp.quick_ack);
    case TCP_MAXSEG: {
      Runtime::Guard guard(runtime_);
      return number(handle_->max_segment());
    }
    case TCP_KEEPIDLE:
      return number(to_seconds(tcp.keep_idle));
    case TCP_KEEPINTVL:
      return number(to_seconds(tcp.keep_interval));
    case TCP_KEEPCNT:
      return number(tcp.keep_count);
    case TCP_SYNCNT:
      return number(tcp.syn_retries);
    case TCP_LINGER2:
      return number(to_seconds(tcp.fin_wait2_timeout));
    case TCP_DEFER_ACCEPT:
      return number(to_seconds(tcp.defer_accept));
    case TCP_USER_TIMEOUT:
      return number(tcp.user_timeout.ns / 1'000'000);
    case TCP_NOTSENT_LOWAT:
      return number(tcp.not_sent_low_water);
    case TCP_WINDOW_CLAMP:
    case TCP_THIN_LINEAR_TIMEOUTS:
    case TCP_THIN_DUPACK:
      return number(0);
    case TCP_FASTOPEN:
      return number(tcp.fast_open_queue);
    case TCP_FASTOPEN_CONNECT:
      return number(tcp.fast_open_connect);
    case TCP_FASTOPEN_NO_COOKIE:
      return number(tcp.fast_open_without_cookie);
    case TCP_FASTOPEN_KEY: {
      std::array<std::byte, FastOpenKeys::kMaxBytes> bytes;
      Runtime::Guard guard(runtime_);
      return OptionValue::of(
          std::span<const std::byte>(bytes).first(handle_->fast_open_keys().write(bytes)));
    }
    case TCP_CONGESTION: {
      // TCP_CA_NAME_MAX bytes, padded.
      char text[16] = {};
      std::string_view control = tcp.congestion == CongestionControl::kCubic ? "cubic" : "reno";
      control.copy(text, sizeof(text));
      return OptionValue::of(text);
    }
    case TCP_INFO: {
      Runtime::Guard guard(runtime_);
      return OptionValue::of(to_linux(handle_->info()));
    }
    default:
      return fail(Errno::kNoProtoOpt);
  }
}

ARIL_ONLY_FOR(ip_options)
Result<void> TcpFile::set_ip_option(int name, std::span<const std::byte> value) {
  // IP_TOS and IP_TTL may also be given as one byte [ip(7)].
  int32_t number;
  if (value.size() >= sizeof(int32_t)) {
    number = ARIL_TRY(option_int(value));
  } else if (!value.empty()) {
    number = std::to_integer<uint8_t>(value[0]);
  } else {
    return fail(Errno::kInval);
  }
  switch (name) {
    case IP_TOS:
      return change_options(
          [&](TcpOptions& tcp) { tcp.type_of_service = static_cast<uint8_t>(number); });
    case IP_TTL:
      if (number == -1) number = 64;
      ARIL_TRY(in_range(number, 1, 255));
      return change_options(
          [&](TcpOptions& tcp) { tcp.time_to_live = static_cast<uint8_t>(number); });
    case IP_MTU_DISCOVER:
    case IP_RECVERR:
    case IP_RECVTTL:
    case IP_RECVTOS:
    case IP_PKTINFO:
    case IP_FREEBIND:
    case IP_BIND_ADDRESS_NO_PORT:
      return {};
    default:
      return fail(Errno::kNoProtoOpt);
  }
}

Result<OptionValue> TcpFile::get_ip_option(int name) {
  TcpOptions tcp = tcp_options();
  switch (name) {
    case IP_TOS:
      return OptionValue::of(int32_t{tcp.type_of_service});
    case IP_TTL:
      return OptionValue::of(int32_t{tcp.time_to_live});
    case IP_MTU_DISCOVER:
      return OptionValue::of(int32_t{1});  // IP_PMTUDISC_WANT
    case IP_MTU: {
      Runtime::Guard guard(runtime_);
      ARIL_TRY(handle_->remote());
      return OptionValue::of(static_cast<int32_t>(handle_->info().path_mtu));
    }
    case IP_RECVERR:
    case IP_RECVTTL:
    case IP_RECVTOS:
    case IP_PKTINFO:
    case IP_FREEBIND:
    case IP_BIND_ADDRESS_NO_PORT:
      return OptionValue::of(int32_t{0});
    case IP_OPTIONS:
      return OptionValue{};
    default:
      return fail(Errno::kNoProtoOpt);
  }
}

}  // namespace aril::net
