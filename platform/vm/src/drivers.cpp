#include "platform/common/boot_part.hpp"
#include "start_up.hpp"

// Which virtio devices the image drives: each by a part of its own.
namespace aril::platform {
namespace {

void serve_net(Boot&) { virtual_machine().devices.virtio.serve(virtio::kNetDriver); }
void serve_block(Boot&) { virtual_machine().devices.virtio.serve(virtio::kBlockDriver); }
void serve_console(Boot&) { virtual_machine().devices.virtio.serve(virtio::kConsoleDriver); }
void serve_entropy(Boot&) { virtual_machine().devices.virtio.serve(virtio::kEntropyDriver); }
void serve_ninep(Boot&) { virtual_machine().devices.virtio.serve(virtio::kNinepDriver); }
void serve_balloon(Boot&) { virtual_machine().devices.virtio.serve(virtio::kBalloonDriver); }

ARIL_MACHINE_PART(110, virtio_net, serve_net);
ARIL_MACHINE_PART(111, virtio_block, serve_block);
ARIL_MACHINE_PART(112, virtio_console, serve_console);
ARIL_MACHINE_PART(113, virtio_entropy, serve_entropy);
ARIL_MACHINE_PART(114, virtio_9p, serve_ninep);
ARIL_MACHINE_PART(115, virtio_balloon, serve_balloon);

}  // namespace
}  // namespace aril::platform
