#include "../../../kernel/memory/tests/host_memory.hpp"
#include "../src/inode.hpp"
#include "disk_image.hpp"
#include "kernel/random/random.hpp"

// Hostile images: the input is a list of changes to a small image that mkfs.ext4 made (without
// checksums, which would hide everything behind them). It is mounted, walked from end to end, and
// written to.
namespace {

using namespace aril;

constexpr int kDepthLimit = 5;
constexpr int kFileLimit = 200;

/// The same bytes wherever and whenever it is made, so that an input means the same everywhere.
std::vector<std::byte> make_seed() {
  setenv("E2FSPROGS_FAKE_TIME", "1700000000", 1);
  ext4::ImageFile image, script, contents[3];
  image.store(ext4::make_image("2M",
                               "-b 1024 -O ^has_journal,^metadata_csum "
                               "-E hash_seed=01234567-89ab-cdef-0123-456789abcdef"));
  std::string commands = "mkdir a\nmkdir a/b\n";
  size_t size = 1;
  for (const ext4::ImageFile& file : contents) {
    file.store(std::vector(size, std::byte{'x'}));
    commands += "write " + file.name() + " " + std::to_string(size) + "\n";
    size = size == 1 ? 4096 : 100'000;
  }
  commands += "symlink link 1\nsymlink long " + std::string(200, 'y') + "\ncd a\n";
  for (int i = 0; i < 120; ++i)
    commands +=
        "write " + contents[0].name() + " a-name-that-takes-some-room-" + std::to_string(i) + "\n";
  std::ofstream(script.name()) << commands;
  auto [status, text] = ext4::run_command("debugfs -w -f " + script.name() + " " + image.name());
  return status == 0 ? image.load() : std::vector<std::byte>();
}

class Names final : public vfs::DirectoryEmitter {
 public:
  bool emit(std::string_view name, uint64_t, uint8_t, uint64_t) override {
    if (names.size() >= 150) return false;
    names.emplace_back(name);
    return true;
  }
  std::vector<std::string> names;
};

void visit(vfs::Inode& inode, int depth, int& budget) {
  if (depth > kDepthLimit || --budget < 0) return;
  (void)inode.status();
  (void)inode.list_xattrs();
  (void)inode.get_xattr("user.x");
  if (inode.is_symlink()) (void)inode.read_link();
  if (inode.is_regular()) {
    if (auto cache = inode.page_cache(PageAccess::kRead)) {
      for (uint64_t index : {uint64_t{0}, uint64_t{1}, inode.size() / kPageSize})
        (void)(*cache)->page(index, PageAccess::kRead);
    }
    LockGuard guard(inode.mutex());
    std::byte text[3000] = {};
    IoBuffer::Segment segment;
    IoBuffer buffer = IoBuffer::kernel(segment, text);
    (void)inode.write_locked(buffer, 5000);
    (void)inode.allocate_locked(0, 20'000, 5000);
    (void)inode.resize_locked(4500);
  }
  if (!inode.is_directory()) return;
  Names names;
  (void)inode.read_directory(2, names);
  (void)inode.lookup("no such name");
  vfs::Identity who;
  if (auto made = inode.create("new", 0100644, 0, who)) (void)inode.unlink("new", **made);
  (void)inode.symlink("new-link", std::string(100, 'z'), who);
  (void)inode.create("new-directory", 0040755, 0, who);
  // Of a large directory a few: they are all alike, and a visit takes a millisecond.
  constexpr size_t kFew = 12;
  const size_t step = 1 + names.names.size() / kFew;
  for (size_t i = 0; i < names.names.size(); i += step) {
    const std::string& name = names.names[i];
    auto child = inode.lookup(name);
    if (!child) continue;
    visit(**child, depth + 1, budget);
    if (budget % 3 == 0 && !(*child)->is_directory()) (void)inode.unlink(name, **child);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool ready = [] {
    initialize_host_memory();
    random::initialize();
    return true;
  }();
  (void)ready;
  static const std::vector<std::byte> seed = make_seed();
  // Where there is something to be changed.
  static const std::vector<uint32_t> places = [] {
    std::vector<uint32_t> list;
    for (size_t at = 0; at + 64 <= seed.size(); at += 64) {
      for (size_t i = 0; i < 64; ++i) {
        if (seed[at + i] == std::byte{} || seed[at + i] == std::byte{'x'}) continue;
        list.push_back(static_cast<uint32_t>(at));
        break;
      }
    }
    return list;
  }();
  if (places.empty()) return 0;
  std::vector<std::byte> image = seed;
  // Each change: two bytes of place, one of the byte in it, one of value.
  for (size_t i = 0; i + 4 <= size; i += 4)
    image[places[(data[i] | data[i + 1] << 8) % places.size()] + data[i + 2] % 64] =
        std::byte{data[i + 3]};
  ext4::TestDisk disk(std::move(image));
  auto mounted = ext4::Ext4::mount(disk, ext4::Ext4::Access::kReadWrite);
  if (!mounted) return 0;
  int budget = kFileLimit;
  {
    RefPtr<vfs::Inode> root((*mounted)->root()->inode());
    LockGuard names((*mounted)->namespace_mutex());
    visit(*root, 0, budget);
  }
  page_write_back::write_all();
  (void)(*mounted)->unmount();
  return 0;
}
