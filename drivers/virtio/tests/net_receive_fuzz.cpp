#include <cstdlib>

#include "../src/net.hpp"
#include "arch/host.hpp"
#include "fake_device.hpp"

namespace aril::virtio {
namespace {

/// Bytes that drive a hostile device.
class Script {
 public:
  explicit Script(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  uint32_t take(unsigned width) {
    uint32_t value = 0;
    while (width-- > 0 && !bytes_.empty()) {
      value = value << 8 | bytes_.front();
      bytes_ = bytes_.subspan(1);
    }
    return value;
  }

 private:
  std::span<const uint8_t> bytes_;
};

/// Reads every byte, so that the sanitizer sees a frame that leaves its buffer.
void read_all(void* sum, std::span<const RxFrame> frames) {
  for (const RxFrame& frame : frames) {
    for (std::byte byte : frame.bytes())
      *static_cast<uint32_t*>(sum) += static_cast<uint32_t>(byte);
    if (frame.length < 14 || frame.length > 65536 + 14) std::abort();
  }
}

uint32_t control_answer;

/// The control queue's answer: right, wrong, impossible or none, for which nobody waits here.
void answer_command(testing::FakeDevice& device, unsigned queue) {
  if ((device.accepted & kNetMultiqueue) == 0 || queue % 2 != 0 || queue == 0) return;
  auto chain = device.queues[queue].pop();
  if (!chain || chain->readable().size() != sizeof(NetSetPairs)) return;
  const auto answer = static_cast<std::byte>(control_answer & 1);
  chain->fill({&answer, 1});
  if ((control_answer & 6) == 2) device.queues[queue].push(77, 1);
  if ((control_answer & 6) == 4) device.queues[queue].push(chain->head, control_answer);
  if ((control_answer & 6) == 0) device.queues[queue].push(chain->head, 1);
  arch::host_advance_time(Duration::seconds(10));
}

void run(Script script) {
  testing::FakeDevice device;
  device.id = kDeviceNet;
  device.offered |= kNetGuestChecksum;
  uint32_t flavour = script.take(1);
  if ((flavour & 1) != 0) device.offered |= kNetMergeBuffers;
  if ((flavour & 2) != 0) device.offered |= kNetChecksum | kNetGuestTso4;
  if ((flavour & 4) != 0) device.offered &= ~kFeatureEventIndex;
  if ((flavour & 8) != 0) {
    device.offered |= kNetMultiqueue | ((flavour & 16) != 0 ? 0 : kNetControlQueue);
    device.set_config<uint16_t>(kNetConfigMaxPairs, static_cast<uint16_t>(script.take(2)));
    device.queue_count = script.take(1) % (testing::FakeDevice::kMaxQueues - 1) + 2;
    control_answer = script.take(1);
    device.on_notify = answer_command;
  }
  NetDriver net(std::make_unique<testing::FakeTransport>(device), {16, 4, true, 4});
  if (!net.start()) std::abort();
  const unsigned pair = (flavour >> 6) % net.queue_count();
  testing::DeviceQueue& ring = device.queues[2 * pair];
  uint32_t sum = 0;
  while (!script.empty() && !net.has_failed()) {
    uint32_t step = script.take(1);
    switch (step & 7) {
      case 0:
        ring.push(script.take(1), script.take(2));
        break;
      case 1:
        ring.advance(static_cast<uint16_t>(script.take(2)));
        break;
      case 2:
        ring.put(script.take(4), script.take(4));
        break;
      case 3:
        net.poll_receive(pair, 1 + (step >> 3), read_all, &sum);
        break;
      case 4:
        if (net.arm_interrupt(pair)) device.sink->on_queue_interrupt(2 * pair);
        break;
      default:
        if (auto chain = ring.pop()) {
          NetHeader header{.flags = static_cast<uint8_t>(script.take(1)),
                           .buffer_count = static_cast<uint16_t>(1 + (step >> 6))};
          if ((step & 8) != 0) header.buffer_count = static_cast<uint16_t>(script.take(2));
          std::memcpy(chain->pieces[0].data, &header, sizeof header);
          ring.push(chain->head, script.take(2) % 2100);
        }
        break;
    }
  }
  net.poll_receive(pair, 64, read_all, &sum);
  net.stop();
}

}  // namespace
}  // namespace aril::virtio

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  aril::virtio::testing::initialize_memory();
  aril::virtio::run(aril::virtio::Script({data, size}));
  return 0;
}
