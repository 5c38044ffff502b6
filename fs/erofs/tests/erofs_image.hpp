#pragma once
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "kernel/memory/page_allocator.hpp"

namespace aril::erofs {

/// An image of a directory of this machine, made by mkfs.erofs, in frames of the test's RAM so that
/// blocks can be used in place.
class TestImage {
 public:
  explicit TestImage(const std::string& directory, const std::string& options = "") {
    std::string name = "/tmp/aril-erofs-XXXXXX";
    int fd = mkstemp(name.data());
    if (fd < 0) return;
    close(fd);
    std::string command =
        "mkfs.erofs --quiet " + options + " " + name + " " + directory + " > /dev/null 2>&1";
    if (std::system(command.c_str()) == 0) load(name);
    std::filesystem::remove(name);
  }
  ~TestImage() {
    if (bytes_.empty()) return;
    set_pinned(false);
    page_allocator::free_block(arch::virtual_to_physical(bytes_.data()), order_);
  }
  TestImage(const TestImage&) = delete;
  TestImage& operator=(const TestImage&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  void load(const std::string& name) {
    std::ifstream stream(name, std::ios::binary);
    std::vector<char> data((std::istreambuf_iterator<char>(stream)), {});
    while ((kPageSize << order_) < data.size()) ++order_;
    auto block = page_allocator::allocate_block(order_);
    if (!block) return;
    std::byte* at = arch::physical_to_virtual(*block);
    std::memcpy(at, data.data(), data.size());
    bytes_ = std::span(at, data.size());
    set_pinned(true);
  }
  /// As the frames of an image that the boot loader put into RAM are.
  void set_pinned(bool pinned) {
    for (size_t i = 0; i < size_t{1} << order_; ++i) {
      Page* page =
          page_allocator::page_of(arch::virtual_to_physical(bytes_.data() + i * kPageSize));
      page->flags =
          static_cast<uint8_t>(pinned ? page->flags | Page::kPinned : page->flags & ~Page::kPinned);
    }
  }
  std::span<std::byte> bytes_;
  unsigned order_ = 0;
};

}  // namespace aril::erofs
