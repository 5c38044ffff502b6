#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "../../../kernel/memory/tests/host_memory.hpp"
#include "fs/erofs/erofs.hpp"
#include "fs/vfs/open_file.hpp"
#include "kernel/random/random.hpp"

// Hostile images: the fuzzer's input is a list of changes to a small image that mkfs.erofs made
// (or, without mkfs.erofs, the image itself), which is then walked from end to end.
namespace {

using namespace aril;

constexpr int kDepthLimit = 6;
constexpr int kFileLimit = 300;
constexpr uint64_t kReadLimit = 64 * 1024;

std::vector<char> make_seed() {
  namespace fs = std::filesystem;
  std::string directory = "/tmp/aril-fuzz-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) return {};
  fs::path top = directory;
  fs::create_directories(top / "tree/a/b");
  for (int i = 0; i < 80; ++i)
    std::ofstream(top / "tree/a" / ("a-name-that-takes-some-room-" + std::to_string(i))) << i;
  for (size_t size : {1, 4096, 10000}) {
    std::ofstream(top / "tree" / std::to_string(size)) << std::string(size, 'x');
  }
  fs::create_symlink("1", top / "tree/link");
  mkfifo((top / "tree/fifo").c_str(), 0644);
  std::string command =
      "mkfs.erofs --quiet " + directory + "/image " + directory + "/tree >/dev/null 2>&1 || true";
  std::vector<char> image;
  if (std::system(command.c_str()) == 0) {
    std::ifstream stream(top / "image", std::ios::binary);
    image.assign(std::istreambuf_iterator<char>(stream), {});
  }
  fs::remove_all(top);
  return image;
}

class Walk final : public vfs::DirectoryEmitter {
 public:
  bool emit(std::string_view name, uint64_t, uint8_t, uint64_t next) override {
    if (names.size() >= 100 || next <= last_) return false;
    last_ = next;
    names.emplace_back(name);
    return true;
  }
  std::vector<std::string> names;

 private:
  uint64_t last_ = 0;
};

void visit(vfs::Inode& inode, int depth, int& budget) {
  if (depth > kDepthLimit || --budget < 0) return;
  (void)inode.status();
  (void)inode.get_xattr("user.x");
  (void)inode.list_xattrs();
  if (inode.is_symlink()) (void)inode.read_link();
  if (inode.is_regular()) {
    auto cache = inode.page_cache(PageAccess::kRead);
    if (!cache) return;
    for (uint64_t at = 0; at < std::min(inode.size(), kReadLimit); at += kPageSize)
      (void)(*cache)->page(at / kPageSize, PageAccess::kRead);
    (void)(*cache)->page(inode.size() / kPageSize, PageAccess::kRead);
  }
  if (!inode.is_directory()) return;
  Walk walk;
  (void)inode.read_directory(2, walk);
  (void)inode.lookup("no such name");
  for (const std::string& name : walk.names)
    if (auto child = inode.lookup(name)) visit(**child, depth + 1, budget);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool ready = [] {
    initialize_host_memory();
    random::initialize();
    return true;
  }();
  (void)ready;
  static const std::vector<char> seed = make_seed();
  std::vector<char> image = seed;
  if (seed.empty()) {
    image.assign(data, data + size);
  } else {
    // Each change: two bytes of place, one of value.
    for (size_t i = 0; i + 3 <= size; i += 3)
      image[(data[i] | size_t{data[i + 1]} << 8) % image.size()] = static_cast<char>(data[i + 2]);
  }
  // The superblock's checksum would hide everything behind it.
  if (image.size() > 1024 + 12) image[1024 + 8] = 0;
  auto file_system = erofs::Erofs::open(std::as_bytes(std::span(image)));
  int budget = kFileLimit;
  if (file_system) visit(*(*file_system)->root()->inode(), 0, budget);
  return 0;
}
