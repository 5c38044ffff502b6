#include "link.hpp"

#include <algorithm>
#include <cstring>

#include "core.hpp"
#include "kernel/log/log.hpp"
#include "kernel/sched/scheduler.hpp"
#include "kernel/sched/timer.hpp"
#include "net/runtime/runtime.hpp"
#include "net/wire/address_text.hpp"

namespace aril::net {
namespace {
constexpr unsigned kReceiveBudget = 64;
/// Frames up to this size, that of a usual link's, are copied into the ring: cheaper than keeping
/// track of their blocks, and one descriptor for the device.
constexpr size_t kCopyLimit = 1514;
constexpr size_t kMaxPieces = 20;
constexpr size_t kMaxHeader = HeaderBuffer::kSize;
}  // namespace

struct Link::Record {
  std::array<RefPtr<Block>, kMaxPieces> blocks;
  std::array<TxFrame::Piece, kMaxPieces + 1> pieces;
  size_t piece_count = 0;
  uint16_t checksum_start = 0, checksum_offset = 0, segment_size = 0, header_length = 0;
  std::array<std::byte, kMaxHeader> header;
  bool is_ipv6 = false;
  PacketPtr copy;  // of payload that nobody keeps alive

  static void release(void* record) { delete static_cast<Record*>(record); }
  static Record* make(const TxPacket& packet);
};

Link::Record* Link::Record::make(const TxPacket& packet) {
  if (packet.header.size() > kMaxHeader || packet.payload.size() > kMaxPieces) return nullptr;
  std::unique_ptr<Record> record(new (std::nothrow) Record);
  if (!record) return nullptr;
  std::memcpy(record->header.data(), packet.header.data(), packet.header.size());
  record->header_length = static_cast<uint16_t>(packet.header.size());
  record->pieces[record->piece_count++] = {record->header.data(), record->header_length};
  bool shared = std::ranges::all_of(packet.payload, [](const TxPiece& p) { return p.block; });
  size_t total = packet.size() - packet.header.size();
  if (shared) {
    for (size_t i = 0; i < packet.payload.size(); ++i) {
      record->blocks[i] = RefPtr<Block>(packet.payload[i].block);
      record->pieces[record->piece_count++] = {packet.payload[i].data, packet.payload[i].length};
    }
  } else if (total != 0) {
    auto copy = Packet::allocate(total);
    if (!copy) return nullptr;
    record->copy = std::move(*copy);
    size_t at = 0;
    for (const TxPiece& piece : packet.payload) {
      std::memcpy(record->copy->bytes().data() + at, piece.data, piece.length);
      at += piece.length;
    }
    record->pieces[record->piece_count++] = {record->copy->bytes().data(),
                                             static_cast<uint32_t>(total)};
  }
  record->checksum_start = packet.checksum_start;
  record->checksum_offset = packet.checksum_offset;
  record->segment_size = packet.segment_size;
  record->is_ipv6 = packet.is_ipv6;
  return record.release();
}

Result<void> Link::start(unsigned number) {
  char name[8];
  auto text = format_to(std::span(name), "eth%u", number);
  InterfaceConfig config{.name = text, .hardware = device_.mac(), .mtu = device_.mtu()};
  if (has(device_.offloads(), NetOffload::kTxChecksum)) config.features |= LinkFeatures::kChecksum;
  if (has(device_.offloads(), NetOffload::kTsoIpv4)) config.features |= LinkFeatures::kTso;
  if (has(device_.offloads(), NetOffload::kTsoIpv6)) config.features |= LinkFeatures::kTso6;
  core_.lock();
  auto interface = core_.stack->add_interface(config, *this);
  core_.unlock();
  interface_ = ARIL_TRY(std::move(interface));
  thread_ = ARIL_TRY(Thread::create(text, Thread::Kind::kKernel, run, this));
  device_.set_callback(on_device_event, this);
  thread_->start();
  return {};
}

void Link::on_device_event(void* self) { static_cast<Link*>(self)->wake(); }

void Link::wake() {
  // Release pairs with the thread's exchange: it sees what the device did before.
  event_.store(true, std::memory_order_release);
  events_.wake_all();
}

void Link::run(void* self) {
  auto* link = static_cast<Link*>(self);
  for (;;) {
    link->core_.lock();
    unsigned received = link->poll(kReceiveBudget);
    link->flush();
    // Not the stack's time, which is that before the frames.
    link->batch_.expect(received, now());
    link->core_.unlock();
    if (received != 0) {
      // Let the threads that were woken run: their answers leave in the same batch.
      Thread::yield();
      continue;
    }
    if (!link->device_.arm_interrupt()) continue;
    (void)link->events_.wait_until([link] { return link->event_.exchange(false); },
                                   Instant::never(), Interruptible::kNo);
  }
}

unsigned Link::poll(unsigned budget) {
  batch_.expect_no_more();
  core_.stack->ip().set_carrier(*interface_, device_.link_up());
  drain_backlog();
  unsigned count = device_.poll_receive(
      budget,
      [](void* self, std::span<const std::byte> frame, RxChecksum checksum) {
        auto* link = static_cast<Link*>(self);
        link->core_.stack->receive(
            *link->interface_, frame,
            checksum == RxChecksum::kVerified ? ChecksumState::kVerified : ChecksumState::kUnknown);
      },
      this);
  if (count != 0) poll_dhcp();
  return count;
}

void Link::flush() {
  if (batch_.is_empty()) return;
  // With others before it, it could be long until this link's thread gets its turn.
  bool others_wait = Scheduler::waiting_here() > 1;
  if (!others_wait && !batch_.is_due(core_.stack->now())) return;
  batch_.clear();
  device_.flush_transmit();
}

void Link::transmit(const TxPacket& packet) {
  batch_.add(packet.size(), core_.stack->now());
  if (backlog_.empty() && packet.size() <= kCopyLimit && packet.payload.size() < kMaxPieces) {
    std::array<TxFrame::Piece, kMaxPieces> pieces;
    size_t count = 0;
    pieces[count++] = {packet.header.data(), static_cast<uint32_t>(packet.header.size())};
    for (const TxPiece& piece : packet.payload) pieces[count++] = {piece.data, piece.length};
    TxFrame frame{.pieces = {pieces.data(), count},
                  .checksum_start = packet.checksum_start,
                  .checksum_offset = packet.checksum_offset};
    auto sent = device_.transmit(frame);
    if (sent || sent.error() != Errno::kAgain) return;
  }
  std::unique_ptr<Record> record(Record::make(packet));
  if (record && backlog_.empty()) {
    auto sent = submit(*record);
    if (sent) {
      (void)record.release();  // the device's now
      return;
    }
    if (sent.error() != Errno::kAgain) record.reset();
  }
  if (!record || backlog_.size() >= kMaxBacklog || !backlog_.push_back(record.get())) {
    ++interface_->statistics().send_dropped;
    core_.stack->counters().drop(DropReason::kDeviceFull);
    return;
  }
  (void)record.release();
  // The thread arms the room interrupt when it goes to sleep.
  if (backlog_.size() == 1) wake();
}

Result<void> Link::submit(Record& record) {
  TxFrame frame{.pieces = {record.pieces.data(), record.piece_count},
                .checksum_start = record.checksum_start,
                .checksum_offset = record.checksum_offset,
                .segment_size = record.segment_size,
                .header_length = record.header_length,
                .is_ipv6 = record.is_ipv6};
  return device_.transmit(frame, Record::release, &record);
}

void Link::drain_backlog() {
  while (!backlog_.empty()) {
    Record* record = backlog_.front();
    auto sent = submit(*record);
    if (!sent && sent.error() == Errno::kAgain) return;
    backlog_.pop_front();
    batch_.add(0, core_.stack->now());
    if (!sent) {
      ++interface_->statistics().send_dropped;
      delete record;
    }
  }
}

Result<void> Link::configure(const Ipv4Configuration& configuration) {
  IpLayer& ip = core_.stack->ip();
  while (!interface_->addresses().empty())
    ip.remove_address(*interface_, interface_->addresses()[0].address);
  configuration_ = {};
  ARIL_TRY(ip.add_address(*interface_, {configuration.address, configuration.prefix_length}));
  if (!configuration.gateway.is_unspecified()) {
    // A gateway outside the subnet (cloud networks with /32 addresses) is reached on the link.
    if (!interface_->addresses()[0].contains(configuration.gateway))
      ARIL_TRY(ip.add_route({.network = configuration.gateway,
                             .prefix_length = 32,
                             .interface = interface_,
                             .source = configuration.address}));
    ARIL_TRY(ip.add_route({.prefix_length = 0,
                           .gateway = configuration.gateway,
                           .interface = interface_,
                           .source = configuration.address}));
  }
  configuration_ = configuration;
  core_.configuration_changed();
  ARIL_LOG_INFO("net", "%.*s: address %s/%u, gateway %s",
                static_cast<int>(interface_->name().size()), interface_->name().data(),
                AddressText(configuration.address).c_str(), configuration.prefix_length,
                AddressText(configuration.gateway).c_str());
  return {};
}

Result<void> Link::configure(const Ipv6Configuration& configuration) {
  IpLayer& ip = core_.stack->ip();
  IpAddress any = IpAddress::v6(0, 0);
  ARIL_TRY(ip.add_ipv6_address(*interface_, {.address = configuration.address,
                                             .prefix_length = configuration.prefix_length}));
  IpAddress gateway = configuration.gateway;
  if (!gateway.is_unspecified()) {
    // A link-local gateway is on the link; another outside the prefix is made so.
    bool on_link = gateway.is_link_local() ||
                   network_of(gateway, configuration.prefix_length) ==
                       network_of(configuration.address, configuration.prefix_length);
    if (!on_link)
      ARIL_TRY(ip.add_route({.network = gateway,
                             .prefix_length = 128,
                             .gateway = any,
                             .interface = interface_,
                             .source = any}));
    ARIL_TRY(ip.add_route({.network = any,
                           .prefix_length = 0,
                           .gateway = gateway,
                           .interface = interface_,
                           .source = any}));
  }
  core_.configuration_changed();
  ARIL_LOG_INFO("net", "%.*s: address %s/%u, gateway %s",
                static_cast<int>(interface_->name().size()), interface_->name().data(),
                AddressText(configuration.address).c_str(), configuration.prefix_length,
                AddressText(gateway).c_str());
  return {};
}

Result<void> Link::start_dhcp(std::string_view host_name) {
  dhcp_socket_ = ARIL_TRY(core_.stack->create_udp_socket());
  DatagramOptions options;
  options.broadcast = true;
  options.reuse_address = true;
  options.interface = interface_->index();
  ARIL_TRY(dhcp_socket_->set_options(options));
  ARIL_TRY(dhcp_socket_->bind({IpAddress(), kDhcpClientPort}));
  dhcp_.reset(new (std::nothrow)
                  DhcpClient(*this, interface_->hardware(), host_name, core_.stack->random()));
  if (!dhcp_) return fail(Errno::kNoMem);
  dhcp_->start(core_.stack->now());
  return {};
}

void Link::on_ipv6_event(Ipv6Event event, IpAddress address) {
  bool is_told = event == Ipv6Event::kManagedAddresses || event == Ipv6Event::kOtherConfiguration;
  if (is_told && !configurator_ && core_.make_configurator != nullptr)
    configurator_ = core_.make_configurator(*core_.stack, *interface_);
  if (!configurator_) return;
  if (is_told) configurator_->router_said(event == Ipv6Event::kManagedAddresses);
  if (event == Ipv6Event::kDuplicate) configurator_->address_is_duplicate(address);
}

void Link::poll_dhcp() {
  if (configurator_) configurator_->poll();
  if (!dhcp_) return;
  while (auto datagram = dhcp_socket_->receive())
    dhcp_->receive(datagram->payload(), core_.stack->now());
  dhcp_->poll(core_.stack->now());
}

void Link::send_dhcp(std::span<const std::byte> message, IpAddress destination) {
  // A datagram that cannot be sent now is sent again by the client's own timer.
  (void)dhcp_socket_->send(message, Endpoint{destination, kDhcpServerPort},
                           {.interface = interface_->index()});
}

void Link::lease_acquired(const DhcpLease& lease) {
  if (lease.mtu >= 576 && lease.mtu < device_.mtu())
    core_.stack->ip().set_mtu(*interface_, lease.mtu);
  // Renewing the same address must not disturb connections.
  bool same = configuration_.address == lease.address && configuration_.gateway == lease.gateway &&
              configuration_.prefix_length == lease.prefix_length;
  Ipv4Configuration configuration{
      .address = lease.address, .prefix_length = lease.prefix_length, .gateway = lease.gateway};
  configuration.nameservers.assign(lease.nameservers.begin(),
                                   lease.nameservers.begin() + lease.nameserver_count);
  if (same) {
    configuration_ = std::move(configuration);
    core_.configuration_changed();
  } else if (auto done = configure(configuration); !done) {
    ARIL_LOG_WARNING("net", "cannot use the address that DHCP gave: error %d",
                     static_cast<int>(done.error()));
  }
}

void Link::lease_lost() {
  ARIL_LOG_WARNING("net", "%.*s: the DHCP lease ended", static_cast<int>(interface_->name().size()),
                   interface_->name().data());
  while (!interface_->addresses().empty())
    core_.stack->ip().remove_address(*interface_, interface_->addresses()[0].address);
  configuration_ = {};
  core_.configuration_changed();
}

}  // namespace aril::net
