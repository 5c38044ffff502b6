#include "volume.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "kernel/log/log.hpp"

namespace aril::erofs {

using format::kBlockSize;
using format::Layout;
namespace mode = vfs::mode;

namespace {

/// CRC-32C, reflected, without the final inversion [RFC 3720 B.4].
uint32_t crc32c(uint32_t crc, std::span<const std::byte> bytes) {
  for (std::byte byte : bytes) {
    crc ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
  }
  return crc;
}

/// The checksum covers the superblock's block from the superblock on, its own field as zero.
Result<bool> checksum_matches(ImageSource& source, const format::Superblock& superblock) {
  format::Superblock cleared = superblock;
  cleared.checksum = 0;
  uint32_t crc = crc32c(~0u, std::as_bytes(std::span(&cleared, 1)));
  std::array<std::byte, 256> piece;
  uint64_t offset = format::kSuperblockOffset + sizeof(cleared);
  while (offset < kBlockSize) {
    size_t length = std::min<uint64_t>(piece.size(), kBlockSize - offset);
    ARIL_TRY(source.read(offset, std::span(piece).first(length)));
    crc = crc32c(crc, std::span(piece).first(length));
    offset += length;
  }
  return crc == superblock.checksum;
}

uint64_t decode_device(uint32_t device) {
  return mode::make_device((device & 0xfff00) >> 8, (device & 0xff) | ((device >> 12) & 0xfff00));
}

int64_t to_nanoseconds(uint64_t seconds, uint32_t nanoseconds) {
  auto limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max() / 1'000'000'000 - 1);
  return static_cast<int64_t>(std::min(seconds, limit)) * 1'000'000'000 +
         std::min(nanoseconds, 999'999'999u);
}

}  // namespace

Result<RefPtr<Volume>> Volume::open(std::unique_ptr<ImageSource> source) {
  format::Superblock superblock;
  Result<void> read =
      source->read(format::kSuperblockOffset, std::as_writable_bytes(std::span(&superblock, 1)));
  if (!read || superblock.magic != format::kMagic) {
    ARIL_LOG_ERROR("erofs", "no EROFS image here (%llu bytes)",
                   static_cast<unsigned long long>(source->size()));
    return fail(Errno::kInval);
  }
  uint32_t unknown =
      superblock.feature_incompat & ~(format::kIncompatZeroPadding | format::kIncompatChunkedFile);
  if (superblock.block_bits != format::kBlockBits || superblock.directory_block_bits != 0 ||
      unknown != 0 || superblock.extra_devices != 0) {
    ARIL_LOG_ERROR("erofs", "image wants features 0x%x, blocks of 2^%u bytes, %u more devices",
                   unknown, superblock.block_bits, unsigned{superblock.extra_devices});
    return fail(Errno::kOpNotSupp);
  }
  bool has_checksum = (superblock.feature_compat & format::kCompatChecksum) != 0;
  if (has_checksum && !ARIL_TRY(checksum_matches(*source, superblock))) {
    ARIL_LOG_ERROR("erofs", "the superblock's checksum is wrong: the image is damaged");
    return fail(Errno::kIo);
  }
  if (uint64_t{superblock.blocks} * kBlockSize > source->size()) {
    ARIL_LOG_ERROR("erofs", "the image has %u blocks, but only %llu bytes are there",
                   uint32_t{superblock.blocks}, static_cast<unsigned long long>(source->size()));
    return fail(Errno::kIo);
  }
  return try_make_ref<Volume>(std::move(source), superblock);
}

Result<InodeRecord> Volume::read_inode(uint64_t nid) const {
  if (nid > source_->size() >> format::kInodeSlotBits) return fail(Errno::kIo);
  uint64_t offset = uint64_t{superblock_.meta_block} * kBlockSize + (nid << format::kInodeSlotBits);
  auto compact = ARIL_TRY(read_struct<format::CompactInode>(offset));
  InodeRecord inode;
  inode.nid = nid;
  inode.mode = compact.mode;
  inode.layout = static_cast<Layout>((compact.format >> 1) & 7);
  uint64_t inode_size = sizeof(format::CompactInode);
  if ((compact.format & 1) == 0) {
    inode.size = compact.size;
    inode.data = compact.data;
    inode.uid = compact.uid;
    inode.gid = compact.gid;
    inode.link_count = compact.link_count;
    inode.modify_ns = to_nanoseconds(superblock_.build_time, superblock_.build_time_ns);
  } else {
    auto extended = ARIL_TRY(read_struct<format::ExtendedInode>(offset));
    inode_size = sizeof(extended);
    inode.size = extended.size;
    inode.data = extended.data;
    inode.uid = extended.uid;
    inode.gid = extended.gid;
    inode.link_count = extended.link_count;
    inode.modify_ns = to_nanoseconds(extended.modify_time, extended.modify_time_ns);
  }
  if (compact.xattr_count != 0) {
    inode.xattr_size = sizeof(format::XattrHeader) + (uint32_t{compact.xattr_count} - 1) * 4;
    inode.xattr_offset = offset + inode_size;
  }
  inode.tail_offset = offset + inode_size + inode.xattr_size;
  if (inode.size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return fail(Errno::kIo);

  switch (inode.mode & mode::kTypeMask) {
    case mode::kCharDevice:
    case mode::kBlockDevice:
      inode.special_device = decode_device(inode.data);
      inode.size = 0;
      return inode;
    case mode::kFifo:
    case mode::kSocket:
      inode.size = 0;
      return inode;
    case mode::kRegular:
    case mode::kDirectory:
    case mode::kSymlink:
      break;
    default:
      return fail(Errno::kIo);
  }
  switch (inode.layout) {
    case Layout::kFlatPlain:
    case Layout::kFlatInline:
      // Flat contents are all there; so much at least is known of the size.
      if (inode.size > source_->size()) return fail(Errno::kIo);
      return inode;
    case Layout::kChunkBased:
      if ((inode.data & ~(format::kChunkBitsMask | format::kChunkIndexes)) != 0)
        return fail(Errno::kOpNotSupp);
      return inode;
    default:
      return fail(Errno::kOpNotSupp);
  }
}

Result<Extent> Volume::map_block(const InodeRecord& inode, uint64_t index) const {
  if (inode.layout == Layout::kChunkBased) return map_chunk(inode, index);
  uint64_t blocks = (inode.size + kBlockSize - 1) / kBlockSize;
  if (index >= blocks) return fail(Errno::kIo);
  if (inode.layout == Layout::kFlatInline && index == blocks - 1) {
    // The tail lies behind the inode and never crosses a block.
    uint64_t length = inode.size - index * kBlockSize;
    if (inode.tail_offset % kBlockSize + length > kBlockSize) return fail(Errno::kIo);
    return Extent{Extent::Kind::kTail, inode.tail_offset};
  }
  // Both are below 2^52, so neither the sum nor the product overflows.
  uint64_t block = uint64_t{inode.data} + index;
  return Extent{Extent::Kind::kBlock, block * kBlockSize};
}

Result<Extent> Volume::map_chunk(const InodeRecord& inode, uint64_t index) const {
  unsigned bits = inode.data & format::kChunkBitsMask;
  bool indexes = (inode.data & format::kChunkIndexes) != 0;
  uint64_t unit = indexes ? sizeof(format::ChunkIndex) : sizeof(uint32_t);
  // index < 2^51, so the product stays below 2^55.
  uint64_t offset = align_up(inode.tail_offset, unit) + (index >> bits) * unit;
  uint32_t first;
  if (indexes) {
    auto chunk = ARIL_TRY(read_struct<format::ChunkIndex>(offset));
    if (chunk.device != 0) return fail(Errno::kIo);
    first = chunk.block;
  } else {
    first = ARIL_TRY(read_struct<Le<uint32_t>>(offset));
  }
  if (first == format::kHoleBlock) return Extent{};
  uint64_t block = uint64_t{first} + (index & ((uint64_t{1} << bits) - 1));
  return Extent{Extent::Kind::kBlock, block * kBlockSize};
}

Result<void> Volume::read_data(const InodeRecord& inode, uint64_t offset,
                               std::span<std::byte> to) const {
  while (!to.empty()) {
    uint64_t within = offset % kBlockSize;
    size_t length = std::min<uint64_t>(to.size(), kBlockSize - within);
    Extent extent = ARIL_TRY(map_block(inode, offset / kBlockSize));
    if (extent.kind == Extent::Kind::kHole) {
      std::memset(to.data(), 0, length);
    } else {
      ARIL_TRY(source_->read(extent.offset + within, to.first(length)));
    }
    to = to.subspan(length);
    offset += length;
  }
  return {};
}

PageRef FileBacking::in_place(uint64_t index) {
  // The last block may be partly filled: what lies behind the end of the file must read as zeroes
  // in a mapping, and the image does not promise that.
  if (index >= inode_.size / kBlockSize) return {};
  Result<Extent> extent = volume_->map_block(inode_, index);
  if (!extent || extent->kind != Extent::Kind::kBlock) return {};
  return volume_->source().in_place(extent->offset / kBlockSize);
}

Result<void> FileBacking::read_pages(uint64_t index, std::span<PageRef> pages) {
  size_t done = 0;
  while (done < pages.size()) {
    uint64_t start = (index + done) * kBlockSize;
    uint64_t length = start >= inode_.size ? 0 : std::min(inode_.size - start, kBlockSize);
    Extent extent;
    if (length != 0) extent = ARIL_TRY(volume_->map_block(inode_, index + done));
    if (length == kBlockSize && extent.kind == Extent::Kind::kBlock) {
      size_t run = 1;
      while (done + run < pages.size() && start + (run + 1) * kBlockSize <= inode_.size) {
        Extent next = ARIL_TRY(volume_->map_block(inode_, index + done + run));
        if (next.kind != Extent::Kind::kBlock || next.offset != extent.offset + run * kBlockSize)
          break;
        ++run;
      }
      ARIL_TRY(volume_->source().read_blocks(extent.offset / kBlockSize, pages.subspan(done, run)));
      done += run;
      continue;
    }
    auto bytes = pages[done]->bytes();
    if (extent.kind == Extent::Kind::kHole) length = 0;
    if (length != 0) ARIL_TRY(volume_->source().read(extent.offset, bytes.first(length)));
    std::memset(bytes.data() + length, 0, bytes.size() - length);
    ++done;
  }
  return {};
}

}  // namespace aril::erofs
