#include "image/erofs_writer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <format>

#include "image/erofs_format.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/process.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

/// From this size on a file of the user's own is staged as a hard link in place of a copy.
constexpr uint64_t kLinkSize = uint64_t{16} << 20;

void set_metadata(const fs::path& path, const TreeEntry& entry) {
  if (geteuid() == 0 && lchown(path.c_str(), entry.uid, entry.gid) != 0) {
    fail_with_errno(path.string(), errno);
  }
  if (entry.kind != EntryKind::kLink) chmod(path.c_str(), entry.mode);
  const timespec times[2] = {{entry.modified, entry.modified_nanoseconds},
                             {entry.modified, entry.modified_nanoseconds}};
  utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW);
}

/// True when the file was staged as a link: it then has its metadata already, which must not be
/// touched, as they are the host file's.
bool stage_host_file(const TreeEntry& entry, const fs::path& target) {
  if (entry.size >= kLinkSize && entry.uid == geteuid() &&
      link(entry.host.c_str(), target.c_str()) == 0) {
    return true;
  }
  const Descriptor source(open(entry.host.c_str(), O_RDONLY | O_CLOEXEC));
  if (!source) fail_with_errno(entry.host.string(), errno);
  const Descriptor copy(open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!copy) fail_with_errno(target.string(), errno);
  copy_content(source.get(), copy.get(), entry.host.string());
  return false;
}

void stage(const Tree& tree, const fs::path& directory) {
  for (const auto& [path, entry] : tree.entries()) {
    const fs::path target = directory / fs::path(path).relative_path();
    switch (entry.kind) {
      case EntryKind::kDirectory:
        if (path != "/" && mkdir(target.c_str(), 0700) != 0) {
          fail_with_errno(target.string(), errno);
        }
        continue;
      case EntryKind::kHostFile:
        if (stage_host_file(entry, target)) continue;
        break;
      case EntryKind::kContent:
        write_file(target, entry.text);
        break;
      case EntryKind::kLink:
        if (symlink(entry.text.c_str(), target.c_str()) != 0) {
          fail_with_errno(target.string(), errno);
        }
        break;
    }
    set_metadata(target, entry);
  }
  // Children first: making them has changed their parents' times, and a directory may be read-only.
  for (auto entry = tree.entries().rbegin(); entry != tree.entries().rend(); ++entry) {
    if (entry->second.kind == EntryKind::kDirectory) {
      set_metadata(directory / fs::path(entry->first).relative_path(), entry->second);
    }
  }
}

/// CRC-32C, bit by bit: it covers 3 KiB.
uint32_t crc32c(uint32_t crc, std::string_view bytes) {
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
  }
  return crc;
}

/// mkfs.erofs can fix the time of making only together with those of all files, which are wanted as
/// they are (Python compares them, web servers publish them). So it is overwritten here.
void clear_build_time(const fs::path& image) {
  const Descriptor fd(open(image.c_str(), O_RDWR | O_CLOEXEC));
  std::string block(erofs::kBlockSize - erofs::kSuperblockOffset, '\0');
  if (!fd || pread(fd.get(), block.data(), block.size(), erofs::kSuperblockOffset) !=
                 static_cast<ssize_t>(block.size())) {
    throw Error(std::format("{}: cannot be read back", image.string()));
  }
  erofs::Superblock superblock;
  std::memcpy(&superblock, block.data(), sizeof superblock);
  superblock.build_time = 0;
  superblock.build_time_nanoseconds = 0;
  superblock.checksum = 0;
  std::memcpy(block.data(), &superblock, sizeof superblock);
  if ((superblock.feature_compatible & erofs::kCompatibleChecksum) != 0) {
    const uint32_t checksum = crc32c(UINT32_MAX, block);
    std::memcpy(block.data() + offsetof(erofs::Superblock, checksum), &checksum, sizeof checksum);
  }
  if (pwrite(fd.get(), block.data(), block.size(), erofs::kSuperblockOffset) !=
      static_cast<ssize_t>(block.size())) {
    fail_with_errno(image.string(), errno);
  }
}

}  // namespace

void write_erofs(const Tree& tree, const fs::path& output, const fs::path& scratch) {
  const auto program = find_executable("mkfs.erofs");
  if (!program) {
    throw Error("mkfs.erofs is not installed", "apt-get install erofs-utils");
  }
  const TemporaryDirectory directory(scratch);
  stage(tree, directory.path());
  std::vector<std::string> command = {*program,
                                      "--quiet",
                                      "-x-1",  // no extended attributes of the host
                                      "-Eforce-inode-extended",
                                      "--preserve-mtime",
                                      "-U00000000-0000-0000-0000-000000000000"};
  if (geteuid() != 0) command.emplace_back("--all-root");
  command.push_back(output);
  command.push_back(directory.path());
  const CommandResult result = run_command(command);
  if (!WIFEXITED(result.status) || WEXITSTATUS(result.status) != 0) {
    throw Error(std::format("mkfs.erofs failed: {}", trim(result.error)));
  }
  clear_build_time(output);
}

}  // namespace aril::tool
