#include <array>

#include "base/image_use.hpp"
#include "volume.hpp"

namespace aril::erofs {
namespace {

/// Names are stored without these, under their number [erofs.rst].
constexpr std::array<std::string_view, 7> kPrefixes = {
    "", "user.",    "system.posix_acl_access", "system.posix_acl_default", "trusted.",
    "", "security."};

std::string_view prefix_of(uint8_t index) {
  return index < kPrefixes.size() ? kPrefixes[index] : std::string_view();
}

}  // namespace

struct Volume::XattrView {
  std::string name;
  uint64_t value_offset;  // in the image
  size_t value_size;
};

/// The entry at `offset`, which ends before `limit`. Where the next one starts.
Result<uint64_t> Volume::visit_xattr(uint64_t offset, uint64_t limit, const XattrVisit& visit,
                                     bool& go_on) const {
  if (offset > limit || limit - offset < sizeof(format::XattrEntry)) return fail(Errno::kIo);
  auto entry = ARIL_TRY(read_struct<format::XattrEntry>(offset));
  uint64_t length = sizeof(entry) + uint64_t{entry.name_length} + entry.value_size;
  if (length > limit - offset) return fail(Errno::kIo);
  std::array<std::byte, 255> name;
  ARIL_TRY(source_->read(offset + sizeof(entry), std::span(name).first(entry.name_length)));
  std::string_view prefix = prefix_of(entry.name_index);
  if (!prefix.empty()) {
    XattrView view;
    view.name = prefix;
    view.name.append(reinterpret_cast<const char*>(name.data()), entry.name_length);
    view.value_offset = offset + sizeof(entry) + entry.name_length;
    view.value_size = entry.value_size;
    go_on = ARIL_TRY(visit(view));
  }
  return offset + align_up(length, 4);
}

Result<void> Volume::for_each_xattr(const InodeRecord& inode, const XattrVisit& visit) const {
  if (inode.xattr_size == 0) return {};
  auto header = ARIL_TRY(read_struct<format::XattrHeader>(inode.xattr_offset));
  uint64_t end = inode.xattr_offset + inode.xattr_size;
  uint64_t offset = inode.xattr_offset + sizeof(header);
  bool go_on = true;
  // First the numbers of attributes shared between files, in units of 4 bytes.
  for (unsigned i = 0; i < header.shared_count && go_on; ++i, offset += 4) {
    if (end - offset < 4) return fail(Errno::kIo);
    uint32_t id = ARIL_TRY(read_struct<Le<uint32_t>>(offset));
    uint64_t shared = uint64_t{superblock_.xattr_block} * format::kBlockSize + uint64_t{id} * 4;
    ARIL_TRY(visit_xattr(shared, source_->size(), visit, go_on));
  }
  while (go_on && offset < end) offset = ARIL_TRY(visit_xattr(offset, end, visit, go_on));
  return {};
}

ARIL_ONLY_FOR(xattrs)
Result<std::vector<std::byte>> Volume::get_xattr(const InodeRecord& inode,
                                                 std::string_view name) const {
  std::vector<std::byte> value;
  bool found = false;
  ARIL_TRY(for_each_xattr(inode, [&](const XattrView& view) -> Result<bool> {
    if (view.name != name) return true;
    found = true;
    value.resize(view.value_size);
    ARIL_TRY(source_->read(view.value_offset, value));
    return false;
  }));
  if (!found) return fail(Errno::kNoData);
  return value;
}

ARIL_ONLY_FOR(xattrs)
Result<std::string> Volume::list_xattrs(const InodeRecord& inode) const {
  static constexpr size_t kListLimit = 65536;  // XATTR_LIST_MAX
  std::string names;
  ARIL_TRY(for_each_xattr(inode, [&](const XattrView& view) -> Result<bool> {
    if (view.name.starts_with("system.")) return true;
    names.append(view.name).push_back('\0');
    return names.size() < kListLimit;
  }));
  return names;
}

}  // namespace aril::erofs
