#include <algorithm>
#include <bit>

#include "client.hpp"
#include "kernel/memory/page_allocator.hpp"

/// Contents of files: large payloads beside the message, where the device finds them in place.
namespace aril::ninep {

BouncePages::BouncePages(size_t wanted) {
  size_t pages = std::max<size_t>(align_up(wanted, kPageSize) / kPageSize, 1);
  for (order_ = static_cast<unsigned>(std::bit_width(pages - 1));; --order_) {
    if (Result<PhysicalAddress> block = page_allocator::allocate_block(order_)) {
      start_ = *block;
      return;
    }
    if (order_ == 0) return;
  }
}

BouncePages::~BouncePages() {
  if (start_ != 0) page_allocator::free_block(start_, order_);
}

std::span<std::byte> BouncePages::bytes() const {
  if (start_ == 0) return {};
  return {arch::physical_to_virtual(start_), kPageSize << order_};
}

/// Tread and Treaddir with the data written straight into `segments`, or Twrite read from there.
Result<size_t> Client::transfer(Type type, const Fid& fid, uint64_t offset,
                                std::span<const Segment> segments) {
  CallHolder call(*this);
  ARIL_TRY(call.take());
  uint32_t count = 0;
  for (const Segment& segment : segments) count += segment.length;
  if (count > max_payload_ || segments.size() + 2 > MessageDevice::kMaxSegments)
    return fail(Errno::kInval);
  bool writes = type == Type::kWrite;
  Writer out(call->message());
  out.u32(static_cast<uint32_t>(kWriteHead + (writes ? count : 0)))
      .u8(static_cast<uint8_t>(type))
      .u16(call->tag)
      .u32(fid.number())
      .u64(offset)
      .u32(count);

  std::array<Segment, MessageDevice::kMaxSegments> all;
  Segment head{call->memory, kWriteHead};
  // An error answer is as long as the head of the data: no byte of it lands in the data.
  Segment answer_head{call->memory + kMessageRoom, kDataReplyHead};
  all[0] = writes ? head : answer_head;
  std::ranges::copy(segments, all.begin() + 1);
  std::span<const Segment> with_data = std::span(all).first(segments.size() + 1);
  size_t received = writes ? ARIL_TRY(device_.exchange(with_data, {&answer_head, 1}))
                           : ARIL_TRY(device_.exchange({&head, 1}, with_data));
  Reader in(ARIL_TRY(check(call->answer().first(kDataReplyHead), received, type, call->tag)));
  uint32_t moved = in.u32();
  if (in.failed() || moved > count || (!writes && moved > received - kDataReplyHead))
    return violation();
  return moved;
}

Result<size_t> Client::read(const Fid& fid, uint64_t offset, std::span<const Segment> segments) {
  return transfer(Type::kRead, fid, offset, segments);
}

Result<size_t> Client::write(const Fid& fid, uint64_t offset, std::span<const Segment> segments) {
  return transfer(Type::kWrite, fid, offset, segments);
}

Result<size_t> Client::read(const Fid& fid, uint64_t offset, IoBuffer& buffer) {
  size_t done = 0;
  if (buffer.remaining() == 0) return done;
  BouncePages pages(std::min(buffer.remaining(), max_payload_));
  if (pages.bytes().empty()) return fail(Errno::kNoMem);
  while (buffer.remaining() != 0) {
    auto wanted =
        static_cast<uint32_t>(std::min({buffer.remaining(), pages.bytes().size(), max_payload_}));
    Segment segment{pages.physical(), wanted};
    Result<size_t> got = read(fid, offset + done, std::span(&segment, 1));
    if (got && *got != 0) {
      size_t arrived = *got;
      got = buffer.copy_out(pages.bytes().first(arrived));
      if (got && *got < arrived) return done + *got;
    }
    if (!got) {
      if (done == 0) return got;
      break;
    }
    done += *got;
    if (*got < wanted) break;
  }
  return done;
}

Result<size_t> Client::write(const Fid& fid, uint64_t offset, IoBuffer& buffer) {
  size_t done = 0;
  if (buffer.remaining() == 0) return done;
  BouncePages pages(std::min(buffer.remaining(), max_payload_));
  if (pages.bytes().empty()) return fail(Errno::kNoMem);
  while (buffer.remaining() != 0) {
    size_t wanted = std::min({buffer.remaining(), pages.bytes().size(), max_payload_});
    Result<size_t> taken = buffer.copy_in(pages.bytes().first(wanted));
    if (taken && *taken != 0) {
      // What the server does not take is lost to `buffer`, whose caller goes by the count.
      Segment segment{pages.physical(), static_cast<uint32_t>(*taken)};
      taken = write(fid, offset + done, std::span(&segment, 1));
    }
    if (!taken) {
      if (done == 0) return taken;
      break;
    }
    done += *taken;
    if (*taken < wanted) break;
  }
  return done;
}

}  // namespace aril::ninep
