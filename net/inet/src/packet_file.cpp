#include <algorithm>
#include <bit>

#include "inet_base.hpp"
#include "net/socket/option_names.hpp"
#include "packet_address.hpp"
#include "packet_ring.hpp"

namespace aril::net {
namespace {

constexpr uint32_t kFionread = 0x541b;
constexpr int kVersion2 = 1;  // TPACKET_V2

/// struct packet_mreq.
struct Membership {
  static constexpr uint16_t kPromiscuous = 1;  // of the PACKET_MR_*
  int32_t interface;
  uint16_t type, address_length;
  uint8_t address[8];
};
static_assert(sizeof(Membership) == 16);

/// struct tpacket_auxdata.
struct PacketFacts {
  uint32_t status, length, captured;
  uint16_t link_offset, network_offset, vlan_tag, vlan_protocol;
};
static_assert(sizeof(PacketFacts) == 20);

/// A packet socket as a file [packet(7)]. The handle is used, and released, under the stack's lock.
class PacketFile final : public InetSocket {
 public:
  PacketFile(Runtime& runtime, SocketType type, uint16_t protocol, RefPtr<PacketSocket> handle,
             OpenFlags flags)
      : InetSocket(runtime, Family::kPacket, type, std::byteswap(protocol), flags),
        handle_(std::move(handle)) {
    Runtime::Guard guard(runtime_);
    handle_->set_observer(this);
  }
  ~PacketFile() override {
    Runtime::Guard guard(runtime_);
    handle_->close();
    handle_.reset();
  }

  Result<void> bind(const SocketAddress& raw) override {
    if (raw.length < sizeof(LinkAddress)) return fail(Errno::kInval);
    LinkAddress address = ARIL_TRY(read(raw));
    Runtime::Guard guard(runtime_);
    return handle_->bind(static_cast<uint32_t>(address.interface), address.protocol);
  }
  Result<void> connect(const SocketAddress&) override { return fail(Errno::kOpNotSupp); }
  Result<void> shutdown(ShutdownSide) override { return fail(Errno::kOpNotSupp); }
  Result<SocketAddress> peer_address() override { return fail(Errno::kOpNotSupp); }
  Result<SocketAddress> local_address() override;
  Result<size_t> send(OutgoingMessage& message) override;
  Result<size_t> receive(IncomingMessage& message) override;
  Result<int64_t> ioctl(uint32_t request, uint64_t argument) override;
  Result<RefPtr<MemoryObject>> memory_object() override {
    LockGuard guard(receive_mutex_);
    if (!ring_) return fail(Errno::kNoDev);
    return RefPtr<MemoryObject>(ring_.get());
  }

 protected:
  [[nodiscard]] PollEvents events_locked() const override { return handle_->events(); }
  Result<void> apply_options() override {
    Runtime::Guard guard(runtime_);
    if (options_.receive_buffer != 0) handle_->set_receive_buffer(options_.receive_buffer);
    return {};
  }
  Result<void> set_filter(std::optional<PacketFilter> filter) override {
    Runtime::Guard guard(runtime_);
    if (!filter && !handle_->has_filter()) return fail(Errno::kNoEnt);
    handle_->set_filter(std::move(filter));
    return {};
  }
  Result<void> set_protocol_option(int level, int name, std::span<const std::byte> value) override;
  Result<OptionValue> get_protocol_option(int level, int name) override;
  Result<OptionValue> get_option_about(int level, int name,
                                       std::span<const std::byte> given) override;

 private:
  static Result<LinkAddress> read(const SocketAddress& raw) {
    LinkAddress address;
    if (raw.length < LinkAddress::kShortLength) return fail(Errno::kInval);
    if (raw.family() != Family::kPacket) return fail(Errno::kInval);
    memcpy(&address, raw.bytes.data(), std::min<size_t>(raw.length, sizeof(address)));
    return address;
  }
  static SocketAddress write(const LinkAddress& address) {
    SocketAddress raw;
    raw.length = sizeof(address);
    memcpy(raw.bytes.data(), &address, sizeof(address));
    return raw;
  }
  Result<void> change_membership(int name, std::span<const std::byte> value);
  Result<void> make_ring(std::span<const std::byte> value);

  RefPtr<PacketSocket> handle_;
  RefPtr<PacketRing> ring_;  // guarded by receive_mutex_
  uint32_t reserve_ = 0;
  int version_ = 0;
  bool with_facts_ = false;
};

Result<SocketAddress> PacketFile::local_address() {
  Runtime::Guard guard(runtime_);
  LinkAddress address;
  address.protocol = handle_->protocol();
  address.interface = static_cast<int32_t>(handle_->interface());
  address.address_length = 0;
  if (const Interface* link = guard->ip().interface(handle_->interface())) {
    if (link->is_loopback()) address.hardware_type = LinkAddress::kLoopback;
    address.address_length = sizeof(EthernetAddress);
    memcpy(address.address.data(), link->hardware().data(), link->hardware().size());
  }
  return write(address);
}

Result<size_t> PacketFile::send(OutgoingMessage& message) {
  LinkAddress address;
  if (message.destination != nullptr && message.destination->length != 0)
    address = ARIL_TRY(read(*message.destination));
  constexpr size_t kMaxFrame = 65535 + sizeof(EthernetHeader);
  size_t length = message.data.remaining();
  if (length > kMaxFrame) return fail(Errno::kMsgSize);
  auto packet = ARIL_TRY(Packet::allocate(length));
  if (ARIL_TRY(message.data.copy_in(packet->bytes())) != length) return fail(Errno::kFault);
  EthernetAddress destination;
  memcpy(destination.data(), address.address.data(), destination.size());
  Runtime::Guard guard(runtime_);
  return handle_->send(packet->bytes(), static_cast<uint32_t>(address.interface), address.protocol,
                       destination);
}

Result<size_t> PacketFile::receive(IncomingMessage& message) {
  if (has(message.flags, MessageFlags::kErrorQueue)) return fail(Errno::kAgain);
  bool peeks = has(message.flags, MessageFlags::kPeek);
  for (;;) {
    CapturedFrame frame;
    PacketPtr copy;
    {
      Runtime::Guard guard(runtime_);
      if (auto next = handle_->peek(); next && peeks) {
        copy = ARIL_TRY(Packet::copy_of((*next)->packet->bytes()));
        frame = {.interface = (*next)->interface,
                 .direction = (*next)->direction,
                 .is_loopback = (*next)->is_loopback,
                 .protocol = (*next)->protocol,
                 .source = (*next)->source,
                 .received = (*next)->received,
                 .packet = std::move(copy),
                 .length = (*next)->length,
                 .checksum_pending = (*next)->checksum_pending};
      } else if (next) {
        frame = ARIL_TRY(handle_->receive());
      }
    }
    if (!frame.packet) {
      if (!may_wait(message.flags)) return fail(Errno::kAgain);
      ARIL_TRY(wait_for(PollEvents::kIn, options_.receive_timeout));
      continue;
    }
    std::span<const std::byte> bytes = frame.packet->bytes();
    size_t count = std::min(bytes.size(), message.data.remaining());
    if (count != 0 && ARIL_TRY(message.data.copy_out(bytes.first(count))) != count)
      return fail(Errno::kFault);
    message.source = write(LinkAddress::of(frame));
    if (options_.timestamp || options_.timestamp_ns)
      message.control.received_ns = frame.received.ns;
    if (with_facts_) {
      uint16_t network =
          type() == SocketType::kRaw ? uint16_t{sizeof(EthernetHeader)} : uint16_t{0};
      PacketFacts facts{.status = 1u | (frame.checksum_pending ? 8u : 0u),
                        .length = frame.length,
                        .captured = static_cast<uint32_t>(bytes.size()),
                        .link_offset = 0,
                        .network_offset = network,
                        .vlan_tag = 0,
                        .vlan_protocol = 0};
      message.control.packet_facts = std::bit_cast<std::array<std::byte, sizeof(facts)>>(facts);
    }
    if (bytes.size() > count) {
      message.result_flags |= MessageFlags::kTruncated;
      if (has(message.flags, MessageFlags::kTruncated)) return size_t{frame.length};
    }
    return count;
  }
}

Result<int64_t> PacketFile::ioctl(uint32_t request, uint64_t argument) {
  if (request != kFionread) return interface_ioctl(runtime_, request, argument);
  size_t size = 0;
  {
    Runtime::Guard guard(runtime_);
    size = handle_->next_size();
  }
  ARIL_TRY(UserPtr<int32_t>(argument).write(static_cast<int32_t>(size)));
  return 0;
}

Result<void> PacketFile::change_membership(int name, std::span<const std::byte> value) {
  Membership request;
  if (value.size() < sizeof(request)) return fail(Errno::kInval);
  memcpy(&request, value.data(), sizeof(request));
  auto interface = static_cast<uint32_t>(request.interface);
  Runtime::Guard guard(runtime_);
  if (guard->ip().interface(interface) == nullptr) return fail(Errno::kNoDev);
  // All groups' frames are seen anyway.
  if (request.type != Membership::kPromiscuous) return {};
  return name == PACKET_ADD_MEMBERSHIP ? handle_->add_promiscuous(interface)
                                       : handle_->drop_promiscuous(interface);
}

Result<void> PacketFile::make_ring(std::span<const std::byte> value) {
  RingRequest request;
  if (value.size() < sizeof(request)) return fail(Errno::kInval);
  memcpy(&request, value.data(), sizeof(request));
  LockGuard lock(receive_mutex_);
  RefPtr<PacketRing> made;
  if (request.block_count != 0) {
    if (version_ != kVersion2) return fail(Errno::kInval);
    if (ring_) return fail(Errno::kBusy);
    uint32_t link = type() == SocketType::kRaw ? uint32_t{sizeof(EthernetHeader)} : 0;
    made = ARIL_TRY(PacketRing::create(request, reserve_, link));
  }
  {
    Runtime::Guard guard(runtime_);
    handle_->set_ring(made.get());
  }
  ring_ = std::move(made);
  return {};
}

Result<void> PacketFile::set_protocol_option(int level, int name,
                                             std::span<const std::byte> value) {
  if (level == SOL_SOCKET && name == SO_BINDTODEVICE) {
    uint32_t interface = ARIL_TRY(interface_index(value));
    Runtime::Guard guard(runtime_);
    return handle_->bind(interface, 0);
  }
  if (level != SOL_PACKET) return fail(Errno::kNoProtoOpt);
  if (name == PACKET_ADD_MEMBERSHIP || name == PACKET_DROP_MEMBERSHIP)
    return change_membership(name, value);
  if (name == PACKET_RX_RING) return make_ring(value);
  int32_t number = ARIL_TRY(option_int(value));
  switch (name) {
    case PACKET_VERSION:
      if (ring_) return fail(Errno::kBusy);
      if (number != kVersion2) return fail(Errno::kInval);
      version_ = number;
      return {};
    case PACKET_RESERVE:
      if (ring_) return fail(Errno::kBusy);
      if (number < 0 || number > 0xffff) return fail(Errno::kInval);
      reserve_ = static_cast<uint32_t>(number);
      return {};
    case PACKET_AUXDATA:
      with_facts_ = number != 0;
      return {};
    case PACKET_IGNORE_OUTGOING: {
      Runtime::Guard guard(runtime_);
      handle_->set_ignores_outgoing(number != 0);
      return {};
    }
    default:
      return fail(Errno::kNoProtoOpt);
  }
}

Result<OptionValue> PacketFile::get_option_about(int level, int name,
                                                 std::span<const std::byte> given) {
  if (level != SOL_PACKET || name != PACKET_HDRLEN) return get_protocol_option(level, name);
  if (ARIL_TRY(option_int(given)) != kVersion2) return fail(Errno::kInval);
  return OptionValue::of(uint32_t{PacketRing::kHeaderLength});
}

Result<OptionValue> PacketFile::get_protocol_option(int level, int name) {
  if (level != SOL_PACKET) return fail(Errno::kNoProtoOpt);
  Runtime::Guard guard(runtime_);
  switch (name) {
    case PACKET_STATISTICS: {
      PacketSocket::Statistics statistics = handle_->take_statistics();
      uint32_t value[2] = {statistics.seen, statistics.dropped};
      return OptionValue::of(value);
    }
    case PACKET_VERSION:
      return OptionValue::of(version_);
    case PACKET_RESERVE:
      return OptionValue::of(reserve_);
    case PACKET_AUXDATA:
      return OptionValue::of(int32_t{with_facts_});
    default:
      return fail(Errno::kNoProtoOpt);
  }
}

}  // namespace

Result<RefPtr<Socket>> create_packet_socket(Runtime& runtime, SocketType type, uint16_t protocol,
                                            OpenFlags flags) {
  if (type != SocketType::kRaw && type != SocketType::kDatagram)
    return fail(Errno::kSockTNoSupport);
  PacketKind kind = type == SocketType::kRaw ? PacketKind::kRaw : PacketKind::kDatagram;
  RefPtr<PacketSocket> handle;
  {
    Runtime::Guard guard(runtime);
    handle = ARIL_TRY(guard->packets().create_socket(kind, protocol));
  }
  auto file = try_make_ref<PacketFile>(runtime, type, protocol, std::move(handle), flags);
  if (file) return *file;
  Runtime::Guard guard(runtime);
  // NOLINTNEXTLINE(bugprone-use-after-move): without memory for the file nothing was moved
  handle->close();
  handle.reset();
  return fail(file.error());
}

}  // namespace aril::net
