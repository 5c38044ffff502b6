#include <algorithm>

#include "../src/stand_in.hpp"
#include "fake_server.hpp"

// Hostile answers: the fuzzer's input overwrites parts of what an honest server says.
namespace {

using namespace aril;
using namespace aril::ninep;

void use(Client& client) {
  auto root = client.connect();
  if (!root) return;
  (void)client.file_system_status(**root);
  (void)client.read_directory(**root, 0, [](const Client::Entry&) { return true; });
  auto fid = client.walk(**root, "hello");
  if (!fid) return;
  (void)client.attributes(**fid);
  (void)client.open(**fid, 0);
  std::byte room[64];
  IoBuffer::Segment segment;
  auto buffer = IoBuffer::kernel(segment, room);
  (void)client.read(**fid, 0, buffer);
  auto again = IoBuffer::kernel(segment, room);
  (void)client.write(**fid, 0, again);
  (void)client.read_link(**fid);
  (void)client.open_xattr(**fid, "user.x");
  if (auto fifo = client.walk(**root, "fifo")) (void)stand_in::attributes(client, **fifo);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static bool initialized = (initialize_host_memory(), true);
  (void)initialized;
  FakeServer server;
  server.files = {{"hello", "contents"}, {"fifo", ""}};
  server.modes["fifo"] = 0101600;
  server.xattrs[{"fifo", "user.virtfs.mode"}] = std::string("\x80\x11\0\0", 4);
  size_t at = 0;
  server.tamper = [&](Type, FakeServer::Bytes& answer) {
    // Each answer takes a length and that many bytes, laid over it from an offset.
    if (size - at < 3) return;
    size_t count = data[at] % 32, offset = data[at + 1], length = data[at + 2];
    at += 3;
    count = std::min(count, size - at);
    if (length != 0) answer.resize(length);
    for (size_t i = 0; i < count && offset + i < answer.size(); ++i)
      answer[offset + i] = static_cast<std::byte>(data[at + i]);
    at += count;
  };
  auto client = try_make_ref<Client>(server);
  if (client) use(**client);
  return 0;
}
