#include "kernel_file.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "error.hpp"

namespace aril::tender {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t up(uint64_t value) { return (value + kPage - 1) & ~(kPage - 1); }

void read_exactly(int file, void* to, size_t size, uint64_t offset, const std::string& path) {
  if (pread(file, to, size, static_cast<off_t>(offset)) != static_cast<ssize_t>(size))
    die(path + ": is cut off");
}

void map_segment(int file, const Elf64_Phdr& header, const std::string& path) {
  const uint64_t start = header.p_vaddr & ~(kPage - 1);
  const uint64_t file_end = header.p_vaddr + header.p_filesz;
  const uint64_t end = header.p_vaddr + header.p_memsz;
  if (header.p_filesz > header.p_memsz || end < header.p_vaddr || start < kProcessKernelBase ||
      end > kProcessKernelEnd || (header.p_offset - header.p_vaddr) % kPage != 0)
    die(path + ": is not a kernel for --platform process");
  const int protection = ((header.p_flags & PF_R) != 0 ? PROT_READ : 0) |
                         ((header.p_flags & PF_W) != 0 ? PROT_WRITE : 0) |
                         ((header.p_flags & PF_X) != 0 ? PROT_EXEC : 0);
  auto map = [&](uint64_t from, uint64_t to, int flags, int from_file, uint64_t offset) {
    if (from >= to) return;
    check(mmap(reinterpret_cast<void*>(from), to - from, protection,
               flags | MAP_PRIVATE | MAP_FIXED_NOREPLACE, from_file, static_cast<off_t>(offset)),
          "mmap of the kernel");
  };
  map(start, up(file_end), 0, file, header.p_offset - (header.p_vaddr - start));
  if (header.p_memsz == header.p_filesz) return;
  std::memset(reinterpret_cast<void*>(file_end), 0, std::min(up(file_end), end) - file_end);
  map(up(file_end), up(end), MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

bool find_note(const std::vector<char>& notes, ProcessKernel& kernel) {
  for (size_t at = 0; at + sizeof(Elf64_Nhdr) <= notes.size();) {
    Elf64_Nhdr header;
    std::memcpy(&header, notes.data() + at, sizeof header);
    const size_t content = at + sizeof header + (header.n_namesz + 7) / 8 * 8 + 4;
    if (header.n_type == kProcessNoteType && header.n_descsz == sizeof kernel &&
        content + sizeof kernel <= notes.size()) {
      std::memcpy(&kernel, notes.data() + content, sizeof kernel);
      return kernel.version == kProcessAbiVersion && kernel.size == sizeof kernel;
    }
    at = content + header.n_descsz;
  }
  return false;
}

}  // namespace

ProcessKernel load_kernel(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) die(path, errno);
  Elf64_Ehdr header;
  read_exactly(file, &header, sizeof header, 0, path);
  constexpr unsigned kMostHeaders = 16;
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_machine != EM_X86_64 ||
      header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > kMostHeaders)
    die(path + ": is not a kernel for --platform process");
  std::vector<Elf64_Phdr> headers(header.e_phnum);
  read_exactly(file, headers.data(), headers.size() * sizeof(Elf64_Phdr), header.e_phoff, path);
  ProcessKernel kernel{};
  bool found = false;
  for (const Elf64_Phdr& segment : headers) {
    if (segment.p_type == PT_LOAD) map_segment(file, segment, path);
    constexpr uint64_t kLongestNotes = 4096;
    if (segment.p_type == PT_NOTE && segment.p_filesz <= kLongestNotes) {
      std::vector<char> notes(segment.p_filesz);
      read_exactly(file, notes.data(), notes.size(), segment.p_offset, path);
      found = found || find_note(notes, kernel);
    }
  }
  close(file);
  if (!found) die(path + ": is a kernel of another version than this tender");
  return kernel;
}

}  // namespace aril::tender
