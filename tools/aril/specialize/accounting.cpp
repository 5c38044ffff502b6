#include <elf.h>

#include <algorithm>
#include <format>
#include <optional>

#include "elf/elf_file.hpp"
#include "specialize/kernel_linker.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace {

/// One input section as the linker placed it.
struct Piece {
  uint64_t address = 0;
  uint64_t size = 0;
  std::string component;
  std::string section;  ///< ".text.foo", "aril_syscalls.read"
  bool in_file = true;
  std::string reason;
};

std::optional<uint64_t> hexadecimal(std::string_view text) {
  return parse_number("0x" + std::string(trim(text)));
}

/// A line of the map that places an input section:
///   ADDRESS LMA SIZE ALIGN         PATH/NAME.a(OBJECT):(SECTION)
std::optional<Piece> piece_of(const std::string& line) {
  constexpr size_t kColumn = 16, kSizeAt = 34, kSizeWidth = 8, kNameAt = 57;
  // Symbols stand further to the right, output sections further to the left.
  if (line.size() <= kNameAt || line[kNameAt - 1] != ' ' || line[kNameAt] == ' ')
    return std::nullopt;
  const auto address = hexadecimal(std::string_view(line).substr(0, kColumn));
  const auto size = hexadecimal(std::string_view(line).substr(kSizeAt, kSizeWidth));
  const std::string_view rest = trim(std::string_view(line).substr(kNameAt));
  const size_t open = rest.rfind(":(");
  if (!address || !size || *size == 0 || open == std::string_view::npos) return std::nullopt;
  Piece piece = {.address = *address, .size = *size};
  piece.section = rest.substr(open + 2, rest.size() - open - 3);
  const size_t archive = rest.find(".a(");
  const size_t slash = rest.rfind('/', archive);
  piece.component = archive == std::string_view::npos || slash == std::string_view::npos
                        ? "constants"  // merged strings, which belong to several
                        : std::string(rest.substr(slash + 1, archive - slash - 1));
  return piece;
}

/// The pieces of the kernel and who refers to whom.
class Graph {
 public:
  explicit Graph(const LinkedKernel& kernel) {
    for (const std::string& line : split(read_file(kernel.map), '\n')) {
      auto piece = piece_of(line);
      if (!piece || piece->address < kKernelBase) continue;
      piece->in_file = !piece->section.starts_with(".bss") && piece->section != "COMMON";
      pieces_.push_back(std::move(*piece));
    }
    std::ranges::sort(pieces_, {}, &Piece::address);
    edges_.resize(pieces_.size());
    const MappedFile file(kernel.elf);
    read_relocations(file.bytes());
  }

  /// Marks what `root` needs and nothing before it did.
  void spread(size_t root, const std::string& reason) {
    std::vector<size_t> pending = {root};
    while (!pending.empty()) {
      const size_t at = pending.back();
      pending.pop_back();
      if (!pieces_[at].reason.empty()) continue;
      pieces_[at].reason = reason;
      pending.insert(pending.end(), edges_[at].begin(), edges_[at].end());
    }
  }
  void spread_from(std::string_view prefix, const char* what) {
    for (size_t i = 0; i < pieces_.size(); ++i) {
      if (!pieces_[i].section.starts_with(prefix)) continue;
      spread(i, std::format("{}{}", what, pieces_[i].section.substr(prefix.size())));
    }
  }
  const std::vector<Piece>& pieces() const { return pieces_; }

 private:
  static constexpr uint64_t kKernelBase = 0xffffffff80000000;

  std::optional<size_t> find(uint64_t address) const {
    auto after = std::ranges::upper_bound(pieces_, address, {}, &Piece::address);
    if (after == pieces_.begin()) return std::nullopt;
    --after;
    if (address - after->address >= after->size) return std::nullopt;
    return static_cast<size_t>(after - pieces_.begin());
  }

  void read_relocations(std::span<const std::byte> file) {
    const auto header = read_at<Elf64_Ehdr>(file, 0);
    if (!header) return;
    const auto section = [&](uint64_t index) {
      return read_at<Elf64_Shdr>(file, header->e_shoff + index * sizeof(Elf64_Shdr));
    };
    for (uint64_t i = 0; i < header->e_shnum; ++i) {
      const auto relocations = section(i);
      if (!relocations || relocations->sh_type != SHT_RELA) continue;
      const auto symbols = section(relocations->sh_link);
      if (!symbols) continue;
      for (uint64_t at = 0; at + sizeof(Elf64_Rela) <= relocations->sh_size;
           at += sizeof(Elf64_Rela)) {
        const auto one = read_at<Elf64_Rela>(file, relocations->sh_offset + at);
        if (!one) return;
        const auto symbol = read_at<Elf64_Sym>(
            file, symbols->sh_offset + ELF64_R_SYM(one->r_info) * sizeof(Elf64_Sym));
        if (!symbol) continue;
        // A section's symbol stands for all of it: only with the addend it names a place, to which
        // relative ones count from the end of their four bytes.
        const bool is_section = ELF64_ST_TYPE(symbol->st_info) == STT_SECTION;
        const uint32_t type = ELF64_R_TYPE(one->r_info);
        const uint64_t correction = type == R_X86_64_PC32 || type == R_X86_64_PLT32 ? 4 : 0;
        const uint64_t target =
            symbol->st_value + (is_section ? static_cast<uint64_t>(one->r_addend) + correction : 0);
        const auto from = find(one->r_offset);
        const auto to = find(target);
        if (from && to && *from != *to) edges_[*from].push_back(*to);
      }
    }
  }

  std::vector<Piece> pieces_;
  std::vector<std::vector<size_t>> edges_;
};

}  // namespace

std::vector<Share> account(const LinkedKernel& kernel) {
  Graph graph(kernel);
  for (const char* root : {".boot.text", ".text.system_call", ".text.entry", ".text.memory",
                           ".text.user_access", ".aril.image", "aril_fixups"}) {
    for (size_t i = 0; i < graph.pieces().size(); ++i) {
      if (graph.pieces()[i].section == root) graph.spread(i, "core");
    }
  }
  for (const char* part :
       {"aril_boot_parts.500.linux", "aril_boot_parts.404.mount_root", "aril_boot_parts.200.mmio",
        "aril_boot_parts.290.devices", "aril_boot_parts.400.root",
        "aril_boot_parts.112.virtio_console", "aril_boot_parts.900.program"}) {
    graph.spread_from(part, "core");
  }
  graph.spread_from("aril_boot_parts.", "boot part ");
  graph.spread_from("aril_proc_files", "files in /proc");
  graph.spread_from("aril_syscalls.", "system call ");

  std::map<std::string, Share> shares;
  for (const Piece& piece : graph.pieces()) {
    Share& share = shares[piece.component];
    share.component = piece.component;
    if (!piece.in_file) {
      share.memory += piece.size;
      continue;
    }
    share.size += piece.size;
    share.reasons[piece.reason.empty() ? "core" : piece.reason] += piece.size;
  }
  std::vector<Share> result;
  for (auto& [name, share] : shares) result.push_back(std::move(share));
  std::ranges::sort(result, std::greater(), &Share::size);
  return result;
}

}  // namespace aril::tool
