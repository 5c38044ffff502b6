#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "net/stack/stack.hpp"
#include "net/wire/checksum.hpp"
#include "net/wire/ethernet.hpp"

namespace aril::net::test {

using Bytes = std::vector<std::byte>;

/// What a frame looks like on the wire: one for each segment of a super-segment, checksums
/// complete.
/// As a device does that cuts a datagram, whose checksum is complete.
inline std::vector<Bytes> to_fragments(const Bytes& whole, const TxPacket& packet) {
  const size_t headers = packet.is_ipv6 ? 54 : 34, total = whole.size() - headers;
  std::vector<Bytes> frames;
  for (size_t at = 0; at < total; at += packet.segment_size) {
    const size_t length = std::min<size_t>(packet.segment_size, total - at);
    const bool more = at + length < total;
    Bytes frame(whole.begin(), whole.begin() + static_cast<long>(headers));
    if (packet.is_ipv6) {
      Ipv6Header ip;
      std::memcpy(&ip, frame.data() + 14, sizeof ip);
      Ipv6FragmentHeader fragment{.next_header = ip.next_header,
                                  .reserved = 0,
                                  .offset_and_flags = static_cast<uint16_t>(
                                      at | (more ? Ipv6FragmentHeader::kMoreFragments : 0)),
                                  .identification = 7};
      ip.next_header = static_cast<uint8_t>(Ipv6Extension::kFragment);
      ip.payload_length = static_cast<uint16_t>(sizeof fragment + length);
      std::memcpy(frame.data() + 14, &ip, sizeof ip);
      auto bytes = std::as_bytes(std::span(&fragment, 1));
      frame.insert(frame.end(), bytes.begin(), bytes.end());
    } else {
      Ipv4Header ip;
      std::memcpy(&ip, frame.data() + 14, sizeof ip);
      ip.total_length = static_cast<uint16_t>(sizeof ip + length);
      ip.fragment = static_cast<uint16_t>(at / 8 | (more ? Ipv4Header::kMoreFragments : 0));
      ip.checksum = 0;
      Checksum sum;
      sum.add(std::as_bytes(std::span(&ip, 1)));
      ip.checksum = sum.finish();
      std::memcpy(frame.data() + 14, &ip, sizeof ip);
    }
    auto part = whole.begin() + static_cast<long>(headers + at);
    frame.insert(frame.end(), part, part + static_cast<long>(length));
    frames.push_back(std::move(frame));
  }
  return frames;
}

inline std::vector<Bytes> to_wire(const TxPacket& packet) {
  Bytes whole(packet.header.begin(), packet.header.end());
  for (const TxPiece& piece : packet.payload)
    whole.insert(whole.end(), piece.data, piece.data + piece.length);
  auto finish = [&](Bytes& frame) {
    if (packet.checksum_start == 0) return;
    Checksum sum;
    sum.add(std::span(frame).subspan(packet.checksum_start));
    Be<uint16_t> value = sum.finish();
    std::memcpy(frame.data() + packet.checksum_start + packet.checksum_offset, &value, 2);
  };
  if (packet.segment_size == 0) {
    finish(whole);
    return {whole};
  }
  if (packet.is_datagram) {
    finish(whole);
    return to_fragments(whole, packet);
  }
  // As a segmenting device does: header copied, lengths, sequence, flags and sums put right.
  std::vector<Bytes> frames;
  size_t headers = packet.header.size(), total = whole.size() - headers;
  for (size_t at = 0; at < total; at += packet.segment_size) {
    size_t length = std::min<size_t>(packet.segment_size, total - at);
    Bytes frame(whole.begin(), whole.begin() + static_cast<long>(headers));
    frame.insert(frame.end(), whole.begin() + static_cast<long>(headers + at),
                 whole.begin() + static_cast<long>(headers + at + length));
    size_t transport = packet.is_ipv6 ? 54 : 34;
    IpAddress from, to;
    if (packet.is_ipv6) {
      Ipv6Header ip;
      std::memcpy(&ip, frame.data() + 14, sizeof ip);
      ip.payload_length = static_cast<uint16_t>(frame.size() - 54);
      std::memcpy(frame.data() + 14, &ip, sizeof ip);
      from = ip.source.get();
      to = ip.destination.get();
    } else {
      Ipv4Header ip;
      std::memcpy(&ip, frame.data() + 14, sizeof ip);
      ip.total_length = static_cast<uint16_t>(frame.size() - 14);
      ip.checksum = 0;
      Checksum ip_sum;
      ip_sum.add(std::as_bytes(std::span(&ip, 1)));
      ip.checksum = ip_sum.finish();
      std::memcpy(frame.data() + 14, &ip, sizeof ip);
      from = IpAddress::v4(ip.source);
      to = IpAddress::v4(ip.destination);
    }
    TcpHeader tcp;
    std::memcpy(&tcp, frame.data() + transport, sizeof tcp);
    tcp.sequence = tcp.sequence + static_cast<uint32_t>(at);
    if (at + length < total) tcp.flags = tcp.flags & ~(TcpFlags::kFin | TcpFlags::kPsh);
    tcp.checksum = 0;
    std::memcpy(frame.data() + transport, &tcp, sizeof tcp);
    Checksum sum;
    sum.add_pseudo_header(from, to, 6, static_cast<uint32_t>(frame.size() - transport));
    sum.add(std::span(frame).subspan(transport));
    tcp.checksum = sum.finish();
    std::memcpy(frame.data() + transport, &tcp, sizeof tcp);
    frames.push_back(std::move(frame));
  }
  return frames;
}

/// Collects what a stack sends.
class CapturingSink final : public LinkSink {
 public:
  void transmit(const TxPacket& packet) override {
    for (Bytes& frame : to_wire(packet)) frames.push_back(std::move(frame));
  }
  std::deque<Bytes> frames;
};

struct LinkFaults {
  double loss = 0, duplication = 0, reorder = 0, corruption = 0;
  Duration delay = Duration::milliseconds(5);
  uint64_t rate = 0;         ///< bytes per second, each way; 0: without limit
  size_t queue = 64 * 1024;  ///< bytes that wait for their turn; what comes then is dropped
  size_t mark = 0;           ///< congestion is marked [RFC 3168] from this queue on; 0: never
  size_t mtu = 0;            ///< larger packets vanish without a word; 0: none do
};

/// Two stacks, 10.0.0.1 and 10.0.0.2 (and fd00::1 and fd00::2 once enable_ipv6() was called), over
/// a link with faults that a seed decides.
class TwoStacks {
 public:
  explicit TwoStacks(LinkFaults faults = {}, uint32_t seed = 1,
                     LinkFeatures features = LinkFeatures::kNone)
      : faults_(faults), random_(seed) {
    for (unsigned i = 0; i < 2; ++i) {
      Side& side = sides_[i];
      side.stack = Stack::create({.secret = {11 + i, 22 + i}, .seed = 33 + i, .now = now_}).value();
      InterfaceConfig config{.name = "eth0",
                             .hardware = {2, 0, 0, 0, 0, static_cast<uint8_t>(i + 1)},
                             .features = features};
      side.interface = side.stack->add_interface(config, side.sink).value();
      side.stack->ip().add_address(*side.interface, {address(i), 24}).value();
      side.sink.frames.clear();
    }
  }

  static IpAddress address(unsigned side) {
    return IpAddress::v4(10, 0, 0, static_cast<uint8_t>(side + 1));
  }
  static IpAddress address6(unsigned side) { return IpAddress::v6(0xfd00ull << 48, side + 1); }
  void enable_ipv6() {
    for (unsigned i = 0; i < 2; ++i) {
      IpLayer& ip = sides_[i].stack->ip();
      ip.enable_ipv6(*sides_[i].interface).value();
      ip.add_ipv6_address(*sides_[i].interface, {.address = address6(i), .prefix_length = 64})
          .value();
    }
  }
  Interface& interface(unsigned side) { return *sides_[side].interface; }
  Stack& stack(unsigned side) { return *sides_[side].stack; }
  [[nodiscard]] Instant now() const { return now_; }
  LinkFaults& faults() { return faults_; }

  /// Moves frames and time until `done` or the time is over. True when done.
  bool run(const std::function<bool()>& done, Duration limit = Duration::seconds(600)) {
    Instant end = now_ + limit;
    while (!done()) {
      collect();
      Instant next = end;
      if (!flying_.empty()) next = std::min(next, earliest());
      for (Side& side : sides_) next = std::min(next, side.stack->next_deadline());
      if (next >= end && flying_.empty()) {
        advance(end);
        return done();
      }
      advance(std::max(next, now_));
      if (now_ >= end) return done();
    }
    return true;
  }
  void run_for(Duration time) {
    Instant end = now_ + time;
    run([&] { return now_ >= end; }, time);
  }

 private:
  struct Side {
    CapturingSink sink;
    std::unique_ptr<Stack> stack;
    Interface* interface = nullptr;
    Instant line_free;
  };
  struct Flying {
    Instant arrival;
    unsigned to;
    Bytes frame;
  };

  bool happens(double probability) {
    return std::uniform_real_distribution<>(0, 1)(random_) < probability;
  }
  /// The sender's end of the line: false when its queue is full.
  bool queue(unsigned side, Bytes& frame) {
    Instant& free = sides_[side].line_free;
    free = std::max(free, now_);
    if (faults_.rate == 0) return true;
    auto backlog = static_cast<size_t>((free - now_).ns) * faults_.rate / 1'000'000'000;
    if (backlog > faults_.queue) return false;
    if (faults_.mark != 0 && backlog > faults_.mark) mark_congestion(frame);
    free = free +
           Duration::nanoseconds(static_cast<int64_t>(frame.size() * 1'000'000'000 / faults_.rate));
    return true;
  }
  static void mark_congestion(Bytes& frame) {
    Ipv4Header ip;
    if (frame.size() < 34 || frame[12] != std::byte{8} || frame[13] != std::byte{0}) return;
    std::memcpy(&ip, frame.data() + 14, sizeof ip);
    if ((ip.type_of_service & 3) == 0) return;
    ip.type_of_service |= 3;
    ip.checksum = 0;
    Checksum sum;
    sum.add(std::as_bytes(std::span(&ip, 1)));
    ip.checksum = sum.finish();
    std::memcpy(frame.data() + 14, &ip, sizeof ip);
  }
  Instant earliest() const {
    Instant first = Instant::never();
    for (const Flying& flying : flying_) first = std::min(first, flying.arrival);
    return first;
  }
  void collect() {
    for (unsigned i = 0; i < 2; ++i) {
      while (!sides_[i].sink.frames.empty()) {
        Bytes frame = std::move(sides_[i].sink.frames.front());
        sides_[i].sink.frames.pop_front();
        if (happens(faults_.loss)) continue;
        if (happens(faults_.corruption)) frame[random_() % frame.size()] ^= std::byte{0x10};
        if (faults_.mtu != 0 && frame.size() > faults_.mtu + 14) continue;
        if (!queue(i, frame)) continue;
        Duration delay = faults_.delay + (sides_[i].line_free - now_);
        if (happens(faults_.reorder)) delay = delay + Duration::milliseconds(3 + random_() % 20);
        if (happens(faults_.duplication)) flying_.push_back({now_ + delay, 1 - i, frame});
        flying_.push_back({now_ + delay, 1 - i, std::move(frame)});
      }
    }
  }
  void advance(Instant to) {
    now_ = to;
    for (Side& side : sides_) side.stack->advance(now_);
    for (size_t i = 0; i < flying_.size();) {
      if (flying_[i].arrival > now_) {
        ++i;
        continue;
      }
      Flying flying = std::move(flying_[i]);
      flying_.erase(flying_.begin() + static_cast<long>(i));
      Side& side = sides_[flying.to];
      // In an allocation of its own size, so that the sanitizer sees every stray read.
      side.stack->receive(*side.interface, flying.frame, ChecksumState::kUnknown);
    }
    for (Side& side : sides_) {
      side.stack->poll_timers();
      while (side.stack->run_loopback()) {}
    }
  }

  LinkFaults faults_;
  std::mt19937 random_;
  Instant now_{1'000'000'000};
  Side sides_[2];
  std::deque<Flying> flying_;
};

/// A byte stream that can be checked at any position.
inline std::byte pattern(uint64_t position) {
  return static_cast<std::byte>((position * 2654435761u) >> 13 ^ position);
}

}  // namespace aril::net::test
