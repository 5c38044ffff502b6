#include "packet_ring.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <new>

#include "kernel/memory/page_allocator.hpp"
#include "net/socket/socket.hpp"
#include "packet_address.hpp"

namespace aril::net {
namespace {

constexpr uint32_t kAlignment = 16;  // TPACKET_ALIGNMENT
constexpr uint32_t kStatusKernel = 0, kStatusUser = 1, kStatusLosing = 4, kStatusNoChecksum = 8;

/// struct tpacket2_hdr.
struct FrameHeader {
  uint32_t status, length, captured;
  uint16_t link_offset, network_offset;
  uint32_t seconds, nanoseconds;
  uint16_t vlan_tag, vlan_protocol;
  uint8_t padding[4];
};
static_assert(sizeof(FrameHeader) == 32);
static_assert(sizeof(FrameHeader) + sizeof(LinkAddress) == PacketRing::kHeaderLength);

}  // namespace

Result<RefPtr<PacketRing>> PacketRing::create(const RingRequest& request, uint32_t reserve,
                                              uint32_t link_header) {
  uint64_t bytes = uint64_t{request.block_size} * request.block_count;
  uint32_t per_block = request.frame_size == 0 ? 0 : request.block_size / request.frame_size;
  uint64_t limit = page_allocator::statistics().total_pages * kPageSize / 8;
  bool valid = request.block_size != 0 && request.block_size % kPageSize == 0 &&
               std::has_single_bit(request.block_size) && request.frame_size % kAlignment == 0 &&
               request.frame_size >= kHeaderLength + reserve + kAlignment && per_block != 0 &&
               uint64_t{per_block} * request.block_count == request.frame_count;
  if (!valid || reserve > 0xffff) return fail(Errno::kInval);
  if (bytes > limit) return fail(Errno::kNoMem);
  auto order = static_cast<unsigned>(std::countr_zero(request.block_size / kPageSize));
  if (order > page_allocator::kMaxOrder) return fail(Errno::kNoMem);
  auto ring = ARIL_TRY(try_make_ref<PacketRing>(request, reserve, link_header));
  ring->blocks_.reserve(request.block_count);
  for (uint32_t i = 0; i < request.block_count; ++i) {
    PhysicalAddress block =
        ARIL_TRY(page_allocator::allocate_block(order, page_allocator::Fill::kZero));
    ring->blocks_.push_back(block);
    // Each frame of memory lives as long as the ring or a page table refers to it.
    for (size_t at = 0; at < request.block_size; at += kPageSize) {
      Page& page = *page_allocator::page_of(block + at);
      page.link = 0;
      page.map_count.store(0, std::memory_order_relaxed);
      page.references.store(1, std::memory_order_relaxed);
    }
  }
  return ring;
}

PacketRing::~PacketRing() {
  for (PhysicalAddress block : blocks_)
    for (size_t at = 0; at < request_.block_size; at += kPageSize)
      PageRef::adopt(page_allocator::page_of(block + at)).reset();
}

Result<PageRef> PacketRing::page(uint64_t index, PageAccess) {
  uint64_t per_block = request_.block_size / kPageSize;
  if (index / per_block >= blocks_.size()) return fail(Errno::kFault);
  Page* page = page_allocator::page_of(blocks_[index / per_block] + index % per_block * kPageSize);
  ARIL_ASSERT(page != nullptr);
  return PageRef::share(page);
}

std::byte* PacketRing::frame_at(uint32_t index) const {
  uint32_t per_block = request_.block_size / request_.frame_size;
  return arch::physical_to_virtual(blocks_[index / per_block]) +
         size_t{index % per_block} * request_.frame_size;
}

bool PacketRing::has_frames() const {
  uint32_t last = (next_ == 0 ? request_.frame_count : next_) - 1;
  // The word is shared with the application, which writes it with plain stores.
  auto* status = reinterpret_cast<uint32_t*>(frame_at(last));
  return std::atomic_ref(*status).load(std::memory_order_acquire) != kStatusKernel;
}

bool PacketRing::put(const CapturedFrame& frame, std::span<const TxPiece> pieces, size_t captured) {
  std::byte* slot = frame_at(next_);
  auto* status = reinterpret_cast<uint32_t*>(slot);
  if (std::atomic_ref(*status).load(std::memory_order_acquire) != kStatusKernel) {
    losing_ = true;
    return false;
  }
  uint32_t network =
      align_up(kHeaderLength + std::max(link_header_, kAlignment), kAlignment) + reserve_;
  uint32_t link = network - link_header_;
  if (link >= request_.frame_size) return false;
  captured = std::min<size_t>(captured, request_.frame_size - link);
  size_t at = 0;
  for (const TxPiece& piece : pieces) {
    size_t part = std::min<size_t>(piece.length, captured - at);
    std::memcpy(slot + link + at, piece.data, part);
    at += part;
  }
  int64_t time = Socket::realtime(frame.received);
  FrameHeader header{.status = kStatusKernel,
                     .length = frame.length,
                     .captured = static_cast<uint32_t>(captured),
                     .link_offset = static_cast<uint16_t>(link),
                     .network_offset = static_cast<uint16_t>(network),
                     .seconds = static_cast<uint32_t>(time / 1'000'000'000),
                     .nanoseconds = static_cast<uint32_t>(time % 1'000'000'000),
                     .vlan_tag = 0,
                     .vlan_protocol = 0,
                     .padding = {}};
  LinkAddress address = LinkAddress::of(frame);
  std::memcpy(slot, &header, sizeof(header));
  std::memcpy(slot + sizeof(header), &address, sizeof(address));
  uint32_t flags = kStatusUser;
  if (std::exchange(losing_, false)) flags |= kStatusLosing;
  if (frame.checksum_pending) flags |= kStatusNoChecksum;
  // Release: the application that sees the frame as its own sees all of it.
  std::atomic_ref(*status).store(flags, std::memory_order_release);
  next_ = next_ + 1 == request_.frame_count ? 0 : next_ + 1;
  return true;
}

}  // namespace aril::net
