// A bad link, in user space: moves frames between two network interfaces of this host and, by a
// seed, loses, delays, reorders, duplicates and corrupts them. The kernel's netem does the same
// where it is built in.
//
//   relay PACKET-INTERFACE TAP [loss=P] [duplicate=P] [reorder=P] [corrupt=P] [delay=MS]
//         [rate=BYTES-PER-SECOND] [queue=BYTES] [seed=N]
//
// PACKET-INTERFACE is seen through a packet socket: the host's end of a machine's tap. TAP is made
// here: what the host sends to it arrives at the other. Delays are one-way. Ends with its stdin.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <queue>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace {

/// struct virtio_net_hdr, whose own header is no C++.
struct OffloadHeader {
  static constexpr uint8_t kNeedsChecksum = 1, kTcpIpv4 = 1, kTcpIpv6 = 4, kTypeMask = 0x7f;
  uint8_t flags, type;
  uint16_t header_length, segment_size, checksum_start, checksum_offset;
};
static_assert(sizeof(OffloadHeader) == 10);

using Clock = std::chrono::steady_clock;
using Frame = std::vector<uint8_t>;

struct Settings {
  double loss = 0, duplicate = 0, reorder = 0, corrupt = 0, delay = 0, rate = 0, queue = 1 << 18;
  double seed = 1;
};

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

uint32_t sum(std::span<const uint8_t> bytes, uint32_t start = 0) {
  for (size_t i = 0; i < bytes.size(); ++i) start += i % 2 ? bytes[i] : uint32_t{bytes[i]} << 8;
  return start;
}
uint16_t fold(uint32_t value) {
  while (value >> 16) value = (value & 0xffff) + (value >> 16);
  return static_cast<uint16_t>(~value);
}
void store(Frame& frame, size_t at, uint16_t value) {
  frame[at] = static_cast<uint8_t>(value >> 8);
  frame[at + 1] = static_cast<uint8_t>(value);
}
uint32_t load32(const Frame& frame, size_t at) {
  return uint32_t{frame[at]} << 24 | frame[at + 1] << 16 | frame[at + 2] << 8 | frame[at + 3];
}

/// What a packet socket gives is what the sender's offloads left of it: cut into the segments that
/// a wire would have, checksums complete.
std::vector<Frame> to_wire(const OffloadHeader& header, std::span<const uint8_t> bytes) {
  Frame whole(bytes.begin(), bytes.end());
  bool tso = (header.type & OffloadHeader::kTypeMask) == OffloadHeader::kTcpIpv4 ||
             (header.type & OffloadHeader::kTypeMask) == OffloadHeader::kTcpIpv6;
  size_t tcp = header.checksum_start;
  if (!tso || header.segment_size == 0 || tcp + 20 > whole.size()) {
    if (header.flags & OffloadHeader::kNeedsChecksum) {
      size_t at = tcp + header.checksum_offset;
      if (at + 2 > whole.size()) return {};
      store(whole, at, fold(sum(std::span(whole).subspan(tcp))));
    }
    return {whole};
  }
  size_t head = tcp + (whole[tcp + 12] >> 4) * 4u;
  bool v6 = (whole[14] >> 4) == 6;
  uint32_t sequence = load32(whole, tcp + 4);
  std::vector<Frame> frames;
  for (size_t at = head; at < whole.size(); at += header.segment_size) {
    size_t length = std::min<size_t>(header.segment_size, whole.size() - at);
    Frame frame(whole.begin(), whole.begin() + static_cast<long>(head));
    frame.insert(frame.end(), whole.begin() + static_cast<long>(at),
                 whole.begin() + static_cast<long>(at + length));
    uint32_t own = htonl(sequence + static_cast<uint32_t>(at - head));
    std::memcpy(&frame[tcp + 4], &own, 4);
    if (at + length < whole.size()) frame[tcp + 13] &= static_cast<uint8_t>(~9u);  // FIN, PSH
    auto segment = static_cast<uint32_t>(frame.size() - tcp);
    uint32_t pseudo = 0;
    if (v6) {
      store(frame, 18, static_cast<uint16_t>(frame.size() - 54));
      pseudo = sum(std::span(frame).subspan(22, 32)) + 6 + segment;
    } else {
      store(frame, 16, static_cast<uint16_t>(frame.size() - 14));
      store(frame, 24, 0);
      store(frame, 24, fold(sum(std::span(frame).subspan(14, tcp - 14))));
      pseudo = sum(std::span(frame).subspan(26, 8)) + 6 + segment;
    }
    store(frame, tcp + 16, 0);
    store(frame, tcp + 16, fold(sum(std::span(frame).subspan(tcp), pseudo)));
    frames.push_back(std::move(frame));
  }
  return frames;
}

int open_packet(const char* name) {
  int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
  if (fd < 0) fail("packet socket");
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (ioctl(fd, SIOCGIFINDEX, &request) != 0) fail(name);
  int on = 1, buffer = 16 << 20;
  if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) != 0) fail("PACKET_VNET_HDR");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = request.ifr_ifindex;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("bind");
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

int open_tap(const char* name) {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  if (fd < 0) fail("/dev/net/tun");
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (ioctl(fd, TUNSETIFF, &request) != 0) fail("TUNSETIFF");
  return fd;
}

class Relay {
 public:
  Relay(const Settings& settings, int packet, int tap)
      : settings_(settings),
        random_(static_cast<uint32_t>(settings.seed)),
        packet_(packet),
        tap_(tap) {}

  void run() {
    for (;;) {
      pollfd ready[] = {{packet_, POLLIN, 0}, {tap_, POLLIN, 0}, {0, POLLIN, 0}};
      timespec wait{1, 0};
      if (!flying_.empty()) {
        auto left = std::chrono::nanoseconds(flying_.top().arrival - Clock::now()).count();
        left = std::clamp<int64_t>(left, 0, 1'000'000'000);
        wait = {left / 1'000'000'000, left % 1'000'000'000};
      }
      ppoll(ready, 3, &wait, nullptr);
      if (ready[2].revents != 0) {
        char byte;
        if (read(0, &byte, 1) <= 0) return;
      }
      if (ready[0].revents != 0) take_packets();
      if (ready[1].revents != 0) take_tap();
      deliver();
    }
  }

 private:
  struct Flying {
    Clock::time_point arrival;
    uint64_t order;
    bool to_tap;
    Frame frame;
    bool operator<(const Flying& other) const {
      return std::pair(arrival, order) > std::pair(other.arrival, other.order);
    }
  };

  bool happens(double probability) {
    return std::uniform_real_distribution<>(0, 1)(random_) < probability;
  }

  void launch(Frame frame, bool to_tap) {
    Clock::time_point now = Clock::now();
    Clock::time_point& free = line_free_[to_tap];
    free = std::max(free, now);
    if (settings_.rate > 0) {
      double backlog = std::chrono::duration<double>(free - now).count() * settings_.rate;
      if (backlog > settings_.queue) return;
      free += std::chrono::nanoseconds(
          static_cast<int64_t>(static_cast<double>(frame.size()) * 1e9 / settings_.rate));
    }
    if (happens(settings_.loss)) return;
    if (happens(settings_.corrupt)) frame[random_() % frame.size()] ^= 0x10;
    double delay = settings_.delay + (happens(settings_.reorder) ? 1.0 + random_() % 20 : 0);
    auto arrival = free + std::chrono::microseconds(static_cast<int64_t>(delay * 1000));
    if (happens(settings_.duplicate)) flying_.push({arrival, order_++, to_tap, frame});
    flying_.push({arrival, order_++, to_tap, std::move(frame)});
  }

  void take_packets() {
    uint8_t buffer[sizeof(OffloadHeader) + 70'000];
    sockaddr_ll from{};
    for (int i = 0; i < 64; ++i) {
      socklen_t length = sizeof from;
      ssize_t count =
          recvfrom(packet_, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (count < 0) return;
      if (from.sll_pkttype == PACKET_OUTGOING ||
          count < static_cast<ssize_t>(sizeof(OffloadHeader) + 14))
        continue;
      OffloadHeader header;
      std::memcpy(&header, buffer, sizeof header);
      for (Frame& frame :
           to_wire(header, {buffer + sizeof header, static_cast<size_t>(count) - sizeof header}))
        launch(std::move(frame), true);
    }
  }

  void take_tap() {
    uint8_t buffer[70'000];
    for (int i = 0; i < 64; ++i) {
      ssize_t count = read(tap_, buffer, sizeof buffer);
      if (count < 14) return;
      launch(Frame(buffer, buffer + count), false);
    }
  }

  void deliver() {
    Clock::time_point now = Clock::now();
    while (!flying_.empty() && flying_.top().arrival <= now) {
      const Flying& next = flying_.top();
      if (next.to_tap) {
        if (write(tap_, next.frame.data(), next.frame.size()) < 0 && errno != EINVAL) return;
      } else {
        Frame whole(sizeof(OffloadHeader) + next.frame.size());
        std::copy(next.frame.begin(), next.frame.end(),
                  whole.begin() + static_cast<long>(sizeof(OffloadHeader)));
        (void)!send(packet_, whole.data(), whole.size(), 0);
      }
      flying_.pop();
    }
  }

  const Settings settings_;
  std::mt19937 random_;
  int packet_, tap_;
  uint64_t order_ = 0;
  Clock::time_point line_free_[2];
  std::priority_queue<Flying> flying_;
};

}  // namespace

int main(int count, char** words) {
  if (count < 3) return 2;
  Settings settings;
  const std::map<std::string, double Settings::*> names = {
      {"loss", &Settings::loss},       {"duplicate", &Settings::duplicate},
      {"reorder", &Settings::reorder}, {"corrupt", &Settings::corrupt},
      {"delay", &Settings::delay},     {"rate", &Settings::rate},
      {"queue", &Settings::queue},     {"seed", &Settings::seed},
  };
  for (int i = 3; i < count; ++i) {
    std::string word = words[i];
    auto name = names.find(word.substr(0, word.find('=')));
    if (name == names.end() || word.find('=') == std::string::npos) return 2;
    settings.*name->second = std::atof(word.c_str() + word.find('=') + 1);
  }
  int tap = open_tap(words[2]);
  Relay relay(settings, open_packet(words[1]), tap);
  std::puts("ready");
  std::fflush(stdout);
  relay.run();
}
