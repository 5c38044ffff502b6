#include "program_loader.hpp"

#include "base/units.hpp"
#include "kernel/vm/user_copy.hpp"

namespace aril::linux_abi {
namespace {

bool read_exactly(File& file, uint64_t offset, std::span<std::byte> to) {
  while (!to.empty()) {
    IoBuffer::Segment segment;
    IoBuffer buffer = IoBuffer::kernel(segment, to);
    Result<size_t> count = file.read_at(buffer, offset);
    if (!count || *count == 0) return false;
    to = to.subspan(*count);
    offset += *count;
  }
  return true;
}

// Reserves the whole span of a position-independent program, so that its parts keep their
// distances; where it begins.
Result<uint64_t> reserve_span(AddressSpace& space, const ElfImage& image, uint64_t preferred) {
  uint64_t size = image.highest() - image.lowest();
  MapRequest request;
  request.no_reserve = true;
  request.length = size;
  if (preferred != 0) {
    request.address = align_down(preferred, image.alignment);
    request.placement = MapRequest::Placement::kFixedNoReplace;
    if (Result<uint64_t> address = space.map(request)) return address;
    request.address = 0;
    request.placement = MapRequest::Placement::kAnywhere;
  }
  if (image.alignment <= kPageSize) return space.map(request);
  // Room to align in; what is too much goes back.
  request.length = size + image.alignment;
  uint64_t start = ARIL_TRY(space.map(request));
  uint64_t aligned = align_up(start, image.alignment);
  if (aligned != start) ARIL_TRY(space.unmap(start, aligned - start));
  ARIL_TRY(space.unmap(aligned + size, start + request.length - (aligned + size)));
  return aligned;
}

// The bytes behind the file's part are zero up to the segment's end [ELF-64 1.5, ch. 8].
Result<void> map_zero_part(AddressSpace& space, const ElfSegment& segment, uint64_t bias) {
  uint64_t file_end = bias + segment.address + segment.file_size;
  uint64_t memory_end = bias + segment.end_page();
  uint64_t boundary = align_up(file_end, kPageSize);
  // A read-only segment cannot be zeroed, nor does its program write there.
  if (boundary != file_end && has(segment.protection, Protection::kWrite))
    ARIL_TRY(zero_user(file_end, boundary - file_end));
  if (segment.file_size == 0) boundary = bias + segment.first_page();
  if (boundary >= memory_end) return {};
  MapRequest request;
  request.address = boundary;
  request.length = memory_end - boundary;
  request.protection = segment.protection;
  request.placement = MapRequest::Placement::kFixed;
  ARIL_TRY(space.map(request));
  return {};
}

Result<void> map_segment(AddressSpace& space, const RefPtr<MemoryObject>& object,
                         const ElfSegment& segment, uint64_t bias) {
  if (segment.file_size != 0) {
    MapRequest request;
    request.address = bias + segment.first_page();
    request.length = segment.address + segment.file_size - segment.first_page();
    request.protection = segment.protection;
    request.placement = MapRequest::Placement::kFixed;
    request.object = object;
    request.offset = align_down(segment.offset, kPageSize);
    ARIL_TRY(space.map(request));
  }
  if (segment.memory_size == segment.file_size) return {};
  return map_zero_part(space, segment, bias);
}

}  // namespace

std::expected<Program, ElfError> open_program(RefPtr<File> file) {
  Result<FileStatus> status = file->status();
  if (!status) return std::unexpected(ElfError::kReadFailed);
  File& source = *file;
  auto image = parse_elf(
      [&](uint64_t offset, std::span<std::byte> to) { return read_exactly(source, offset, to); },
      status->size);
  if (!image) return std::unexpected(image.error());
  return Program{.file = std::move(file), .image = std::move(*image)};
}

Result<uint64_t> map_program(AddressSpace& space, const Program& program, uint64_t preferred) {
  const ElfImage& image = program.image;
  RefPtr<MemoryObject> object = ARIL_TRY(program.file->memory_object());
  uint64_t bias = 0;
  if (image.position_independent)
    bias = ARIL_TRY(reserve_span(space, image, preferred)) - image.lowest();
  for (const ElfSegment& segment : image.segments)
    ARIL_TRY(map_segment(space, object, segment, bias));
  return bias;
}

}  // namespace aril::linux_abi
