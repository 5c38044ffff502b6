#include "base/units.hpp"
#include "fs/vfs/lookup.hpp"
#include "process_directory.hpp"

namespace aril::procfs {
namespace {

using synthetic::append_format;
using Unsigned = unsigned long long;

/// A mapping, copied out from under the address space's lock.
struct Line {
  uint64_t start, end, offset;
  Protection protection;
  Sharing sharing;
  uint64_t resident_pages;
  bool has_object;
  std::string name;
};

Result<std::vector<Line>> collect(const ProcessContext& context, int pid) {
  RefPtr<AddressSpace> space = ARIL_TRY(context.processes.address_space(pid));
  std::vector<Line> lines;
  if (!space) return lines;
  space->for_each_mapping([&](const MappingView& view) {
    const char* name = view.label;
    if (name == nullptr && view.object != nullptr) name = view.object->name();
    lines.push_back({view.start, view.end, view.offset, view.protection, view.sharing,
                     view.resident_pages, view.object != nullptr, name != nullptr ? name : ""});
  });
  return lines;
}

/// Device and inode of a mapped file, found by its name; the object does not know them.
struct FileNumbers {
  uint64_t device = 0, inode = 0;
};
FileNumbers numbers_of(const ProcessContext& context, const std::string& name) {
  if (!name.starts_with('/')) return {};
  vfs::Path root = context.mounts.root();
  vfs::LookupContext lookup{.mounts = context.mounts, .identity = {}, .root = root};
  Result<vfs::Path> path = vfs::resolve(lookup, root, name, vfs::LookupFlags::kNone);
  if (!path) return {};
  Result<FileStatus> status = path->inode().status();
  if (!status) return {};
  return {status->device, status->inode};
}

/// The line of maps, without its end.
void append_line(const ProcessContext& context, const Line& line, std::string& out) {
  static constexpr size_t kNameColumn = 73;
  size_t begin = out.size();
  FileNumbers file = numbers_of(context, line.name);
  append_format(out, "%08llx-%08llx %c%c%c%c %08llx %02x:%02x %llu",
                static_cast<Unsigned>(line.start), static_cast<Unsigned>(line.end),
                has(line.protection, Protection::kRead) ? 'r' : '-',
                has(line.protection, Protection::kWrite) ? 'w' : '-',
                has(line.protection, Protection::kExecute) ? 'x' : '-',
                line.sharing == Sharing::kShared ? 's' : 'p', static_cast<Unsigned>(line.offset),
                vfs::mode::major_of(file.device), vfs::mode::minor_of(file.device),
                static_cast<Unsigned>(file.inode));
  out += ' ';
  if (line.name.empty()) return;
  if (out.size() - begin < kNameColumn) out.append(kNameColumn - (out.size() - begin), ' ');
  for (char c : line.name) {
    if (c == '\n') {
      out += "\\012";
    } else {
      out += c;
    }
  }
}

void append_sizes(uint64_t size, uint64_t resident, bool anonymous, std::string& out) {
  auto row = [&](const char* name, uint64_t bytes) {
    append_format(out, "%s%*llu kB\n", name,
                  static_cast<int>(24 - std::char_traits<char>::length(name)),
                  static_cast<Unsigned>(bytes / kKiB));
  };
  row("Size:", size);
  row("KernelPageSize:", kPageSize);
  row("MMUPageSize:", kPageSize);
  row("Rss:", resident);
  row("Pss:", resident);
  row("Pss_Dirty:", anonymous ? resident : 0);
  row("Shared_Clean:", 0);
  row("Shared_Dirty:", 0);
  row("Private_Clean:", anonymous ? 0 : resident);
  row("Private_Dirty:", anonymous ? resident : 0);
  row("Referenced:", resident);
  row("Anonymous:", anonymous ? resident : 0);
  for (const char* name : {"LazyFree:", "AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:",
                           "Shared_Hugetlb:", "Private_Hugetlb:", "Swap:", "SwapPss:", "Locked:"})
    row(name, 0);
}

/// As mounts and mountinfo write names: blanks and backslashes in octal [fstab(5)].
std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\\') {
      append_format(out, "\\%03o", static_cast<unsigned>(static_cast<uint8_t>(c)));
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

Result<void> make_maps(const ProcessContext& context, int pid, int, std::string& out) {
  for (const Line& line : ARIL_TRY(collect(context, pid))) {
    append_line(context, line, out);
    out += '\n';
  }
  return {};
}

Result<void> make_smaps(const ProcessContext& context, int pid, int, std::string& out) {
  for (const Line& line : ARIL_TRY(collect(context, pid))) {
    append_line(context, line, out);
    out += '\n';
    append_sizes(line.end - line.start, line.resident_pages * kPageSize, !line.has_object, out);
    out += "THPeligible:           0\nVmFlags:";
    if (has(line.protection, Protection::kRead)) out += " rd";
    if (has(line.protection, Protection::kWrite)) out += " wr";
    if (has(line.protection, Protection::kExecute)) out += " ex";
    if (line.sharing == Sharing::kShared) out += " sh";
    out += " mr mw me \n";
  }
  return {};
}

Result<void> make_smaps_rollup(const ProcessContext& context, int pid, int, std::string& out) {
  std::vector<Line> lines = ARIL_TRY(collect(context, pid));
  uint64_t size = 0, resident = 0;
  for (const Line& line : lines) {
    size += line.end - line.start;
    resident += line.resident_pages * kPageSize;
  }
  if (!lines.empty()) {
    append_format(out, "%08llx-%08llx ---p 00000000 00:00 0                          [rollup]\n",
                  static_cast<Unsigned>(lines.front().start),
                  static_cast<Unsigned>(lines.back().end));
  }
  append_sizes(size, resident, true, out);
  return {};
}

Result<void> make_mounts(const ProcessContext& context, int pid, int, std::string& out) {
  vfs::Path root = ARIL_TRY(context.processes.root_directory(pid));
  for (const auto& view : context.mounts.list(root)) {
    out += escaped(view.source) + " " + escaped(view.mount_point) + " " + view.type + " " +
           vfs::mount_options(view.flags) + " 0 0\n";
  }
  return {};
}

Result<void> make_mountinfo(const ProcessContext& context, int pid, int, std::string& out) {
  vfs::Path root = ARIL_TRY(context.processes.root_directory(pid));
  for (const auto& view : context.mounts.list(root)) {
    append_format(out, "%u %u %u:%u ", view.id, view.parent_id, vfs::mode::major_of(view.device),
                  vfs::mode::minor_of(view.device));
    bool read_only = has(view.flags, vfs::MountFlags::kReadOnly);
    out += escaped(view.root) + " " + escaped(view.mount_point) + " " +
           vfs::mount_options(view.flags) + " - " + view.type + " " + escaped(view.source) +
           (read_only ? " ro\n" : " rw\n");
  }
  return {};
}

}  // namespace aril::procfs
