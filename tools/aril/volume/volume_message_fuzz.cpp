#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "volume/volume_server.hpp"

// Messages of a hostile guest, one after the other: [length / 4] and the bytes, of which the fuzzer
// makes messages by giving them a right size.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace aril::tool;
  namespace fs = std::filesystem;
  static const TemporaryDirectory scratch(fs::temp_directory_path());
  static const int root = [] {
    fs::create_directory(scratch.path() / "volume");
    return open((scratch.path() / "volume").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }();
  VolumeServer server(
      Descriptor(dup(root)), VolumeServer::Access::kReadWrite,
      size % 2 == 0 ? VolumeServer::Owners::kHost : VolumeServer::Owners::kAttributes);
  while (size >= 2) {
    const size_t length = std::min<size_t>(4 * data[0], size - 1);
    std::vector<std::byte> message(4 + length);
    aril::ninep::Writer(message).u32(static_cast<uint32_t>(message.size()));
    std::memcpy(message.data() + 4, data + 1, length);
    const auto answer = server.answer(message);
    if (answer.size() > VolumeServer::kMostMessage) std::abort();
    data += 1 + length;
    size -= 1 + length;
  }
  // Whatever they made stays within the directory.
  for (const auto& entry : fs::directory_iterator(scratch.path())) {
    if (entry.path().filename() != "volume") std::abort();
  }
  for (const auto& entry : fs::directory_iterator(scratch.path() / "volume"))
    fs::remove_all(entry.path());
  return 0;
}
