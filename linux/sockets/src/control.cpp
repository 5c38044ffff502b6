#include <algorithm>

#include "linux/abi/time.hpp"
#include "net/socket/option_names.hpp"
#include "socket_calls.hpp"

/// Control messages of sendmsg and recvmsg [cmsg(3), unix(7), ip(7)].
namespace aril::linux_abi {

namespace {

/// struct cmsghdr.
struct ControlHeader {
  uint64_t length;
  int32_t level;
  int32_t type;
};
static_assert(sizeof(ControlHeader) == 16);

constexpr int kRights = 1, kCredentials = 2;  // SCM_*
constexpr size_t kMaxRights = 253;            // SCM_MAX_FD
constexpr uint64_t kMaxControl = 20480;       // net.core.optmem_max
constexpr size_t kAlignment = 8;

Result<void> read_rights(std::span<const std::byte> data, net::ControlData& control) {
  if (data.size() % sizeof(int32_t) != 0) return fail(Errno::kInval);
  size_t count = data.size() / sizeof(int32_t);
  if (count + control.files.size() > kMaxRights) return fail(Errno::kInval);
  for (size_t i = 0; i < count; ++i) {
    int32_t fd;
    memcpy(&fd, data.data() + i * sizeof(fd), sizeof(fd));
    control.files.push_back(ARIL_TRY(current_process().files().get(fd)));
  }
  return {};
}

/// [unix(7)] Only root may claim to be someone else.
Result<void> read_credentials(std::span<const std::byte> data, net::ControlData& control) {
  net::PeerCredentials claimed;
  if (data.size() != sizeof(claimed)) return fail(Errno::kInval);
  memcpy(&claimed, data.data(), sizeof(claimed));
  const Credentials& own = current_task().credentials;
  bool pid_ok = claimed.pid == current_process().pid() || own.can(Capability::kSysAdmin);
  bool uid_ok = claimed.uid == own.uid || claimed.uid == own.euid || claimed.uid == own.suid ||
                own.can(Capability::kSetUid);
  bool gid_ok = claimed.gid == own.gid || claimed.gid == own.egid || claimed.gid == own.sgid ||
                own.can(Capability::kSetGid);
  if (!pid_ok || !uid_ok || !gid_ok) return fail(Errno::kPerm);
  control.credentials = claimed;
  return {};
}

Result<void> read_one(const ControlHeader& header, std::span<const std::byte> data,
                      net::ControlData& control) {
  if (header.level == net::SOL_SOCKET) {
    if (header.type == kRights) return read_rights(data, control);
    if (header.type == kCredentials) return read_credentials(data, control);
    return fail(Errno::kInval);
  }
  if (header.level == net::SOL_IP) {
    switch (header.type) {
      case net::IP_PKTINFO: {
        net::PacketInfo info;
        if (data.size() < sizeof(info)) return fail(Errno::kInval);
        memcpy(&info, data.data(), sizeof(info));
        control.packet_info = info;
        return {};
      }
      case net::IP_TTL:
      case net::IP_TOS: {
        int32_t value = 0;
        if (data.size() != sizeof(value) && data.size() != 1) return fail(Errno::kInval);
        memcpy(&value, data.data(), data.size());
        if (value < 0 || value > 255) return fail(Errno::kInval);
        (header.type == net::IP_TOS ? control.traffic_class : control.hop_limit) = value;
        return {};
      }
      default:
        return fail(Errno::kInval);
    }
  }
  if (header.level == net::SOL_IPV6) {
    switch (header.type) {
      case net::IPV6_PKTINFO: {
        net::Ipv6PacketInfo info;
        if (data.size() < sizeof(info)) return fail(Errno::kInval);
        memcpy(&info, data.data(), sizeof(info));
        control.ipv6_packet_info = info;
        return {};
      }
      case net::IPV6_HOPLIMIT:
      case net::IPV6_TCLASS: {
        int32_t value;
        if (data.size() != sizeof(value)) return fail(Errno::kInval);
        memcpy(&value, data.data(), sizeof(value));
        if (value < -1 || value > 255) return fail(Errno::kInval);
        (header.type == net::IPV6_TCLASS ? control.traffic_class : control.hop_limit) = value;
        return {};
      }
      case net::IPV6_DONTFRAG:
        return {};
      default:
        return fail(Errno::kInval);
    }
  }
  if (header.level == net::SOL_UDP && header.type == net::UDP_SEGMENT) {
    uint16_t size;
    if (data.size() != sizeof(size)) return fail(Errno::kInval);
    memcpy(&size, data.data(), sizeof(size));
    control.segment_size = size;
    return {};
  }
  return {};  // [Linux] other levels' messages are for other protocols
}

/// Appends messages to the application's buffer while there is room.
class ControlWriter {
 public:
  ControlWriter(uint64_t pointer, uint64_t room) : pointer_(pointer), room_(room) {}

  [[nodiscard]] size_t data_room() const {
    return room_ - used_ < sizeof(ControlHeader) ? 0 : room_ - used_ - sizeof(ControlHeader);
  }
  Result<void> add(int level, int type, std::span<const std::byte> data) {
    if (room_ - used_ < sizeof(ControlHeader)) {
      truncated_ = true;
      return {};
    }
    if (data.size() > data_room()) {
      truncated_ = true;
      data = data.first(data_room());
    }
    ControlHeader header{sizeof(ControlHeader) + data.size(), level, type};
    ARIL_TRY(UserPtr<ControlHeader>(pointer_ + used_).write(header));
    ARIL_TRY(copy_to_user(pointer_ + used_ + sizeof(header), data));
    used_ = std::min(room_, used_ + align_up(header.length, kAlignment));
    return {};
  }
  template <typename T>
  Result<void> add_value(int level, int type, const T& value) {
    return add(level, type, std::as_bytes(std::span(&value, 1)));
  }
  void mark_truncated() { truncated_ = true; }
  [[nodiscard]] WrittenControl result() const { return {used_, truncated_}; }

 private:
  uint64_t pointer_;
  uint64_t room_;
  uint64_t used_ = 0;
  bool truncated_ = false;
};

/// Received files become descriptors, as many as there is room for; the rest are closed.
Result<void> write_rights(ControlWriter& writer, net::ControlData& control,
                          CloseOnExec close_on_exec) {
  int32_t fds[kMaxRights];
  size_t count = std::min(control.files.size(), writer.data_room() / sizeof(int32_t));
  if (count < control.files.size()) writer.mark_truncated();
  FileTable& files = current_process().files();
  size_t installed = 0;
  for (; installed < count; ++installed) {
    auto fd = files.install(control.files[installed], close_on_exec);
    if (!fd) {
      writer.mark_truncated();
      break;
    }
    fds[installed] = *fd;
  }
  if (installed == 0) return {};
  auto written =
      writer.add(net::SOL_SOCKET, kRights, std::as_bytes(std::span(fds).first(installed)));
  if (!written) {
    for (size_t i = 0; i < installed; ++i) (void)files.close(fds[i]);
  }
  return written;
}

}  // namespace

Result<net::ControlData> read_control(uint64_t pointer, uint64_t length) {
  net::ControlData control;
  if (length > kMaxControl) return fail(Errno::kNoBufs);
  if (length < sizeof(ControlHeader)) return control;
  std::unique_ptr<std::byte[]> bytes(new (std::nothrow) std::byte[length]);
  if (bytes == nullptr) return fail(Errno::kNoMem);
  ARIL_TRY(copy_from_user({bytes.get(), length}, pointer));
  for (uint64_t offset = 0; length - offset >= sizeof(ControlHeader);) {
    ControlHeader header;
    memcpy(&header, bytes.get() + offset, sizeof(header));
    if (header.length < sizeof(header) || header.length > length - offset)
      return fail(Errno::kInval);
    ARIL_TRY(read_one(
        header, {bytes.get() + offset + sizeof(header), header.length - sizeof(header)}, control));
    uint64_t step = align_up(header.length, kAlignment);
    if (step > length - offset) break;
    offset += step;
  }
  return control;
}

Result<WrittenControl> write_control(net::Socket& socket, net::ControlData& control,
                                     uint64_t pointer, uint64_t room, CloseOnExec close_on_exec) {
  ControlWriter writer(pointer, pointer == 0 ? 0 : room);
  if (control.received_ns) {
    Timespec time = Timespec::from_ns(realtime_ns(Instant{*control.received_ns}));
    if (socket.options().timestamp_ns) {
      ARIL_TRY(writer.add_value(net::SOL_SOCKET, net::SO_TIMESTAMPNS, time));
    } else {
      Timeval value{time.seconds, time.nanoseconds / 1000};
      ARIL_TRY(writer.add_value(net::SOL_SOCKET, net::SO_TIMESTAMP, value));
    }
  }
  if (control.packet_info)
    ARIL_TRY(writer.add_value(net::SOL_IP, net::IP_PKTINFO, *control.packet_info));
  if (control.time_to_live)
    ARIL_TRY(writer.add_value(net::SOL_IP, net::IP_TTL, *control.time_to_live));
  if (control.type_of_service) {
    ARIL_TRY(
        writer.add_value(net::SOL_IP, net::IP_TOS, static_cast<uint8_t>(*control.type_of_service)));
  }
  if (control.ipv6_packet_info)
    ARIL_TRY(writer.add_value(net::SOL_IPV6, net::IPV6_PKTINFO, *control.ipv6_packet_info));
  if (control.hop_limit)
    ARIL_TRY(writer.add_value(net::SOL_IPV6, net::IPV6_HOPLIMIT, *control.hop_limit));
  if (control.traffic_class)
    ARIL_TRY(writer.add_value(net::SOL_IPV6, net::IPV6_TCLASS, *control.traffic_class));
  if (control.segment_size)
    ARIL_TRY(writer.add_value(net::SOL_UDP, net::UDP_GRO, int32_t{*control.segment_size}));
  if (control.error) {
    const net::QueuedError& error = *control.error;
    ARIL_TRY(writer.add(error.is_ipv6 ? net::SOL_IPV6 : net::SOL_IP,
                        error.is_ipv6 ? net::IPV6_RECVERR : net::IP_RECVERR,
                        std::span(error.bytes).first(error.length)));
  }
  if (control.packet_facts)
    ARIL_TRY(writer.add_value(net::SOL_PACKET, net::PACKET_AUXDATA, *control.packet_facts));
  if (control.credentials)
    ARIL_TRY(writer.add_value(net::SOL_SOCKET, kCredentials, *control.credentials));
  if (!control.files.empty()) ARIL_TRY(write_rights(writer, control, close_on_exec));
  return writer.result();
}

}  // namespace aril::linux_abi
