#include <string>

#include "fs/vfs/inode.hpp"
#include "fs/vfs/operations.hpp"
#include "kernel/sched/thread.hpp"
#include "net/runtime/runtime.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

/// /etc/resolv.conf as the network's configuration says, once there is one.
struct ResolverTask {
  net::Runtime& network;
  vfs::MountTree& mounts;
  std::string written = {};

  void write() {
    std::string text = network.resolver_configuration();
    // What the image brought stays until there is something better; what did not change may have
    // been edited.
    if (text.empty() || text == written) return;
    vfs::LookupContext context{.mounts = mounts, .identity = {}, .root = mounts.root()};
    static_cast<void>(vfs::make_directory(context, context.root, "/etc", 0755));
    auto file = vfs::open(context, context.root, "/etc/resolv.conf",
                          OpenFlags::kWriteOnly | OpenFlags::kCreate | OpenFlags::kTruncate, 0644);
    if (!file) return;
    IoBuffer::Segment segment;
    IoBuffer buffer =
        IoBuffer::kernel(segment, std::as_writable_bytes(std::span(text.data(), text.size())));
    static_cast<void>((*file)->write(buffer));
    written = std::move(text);
  }
};

void write_resolver_configuration(Boot& boot) {
  if (boot.network == nullptr) return;
  auto* task = new ResolverTask{*boot.network, boot.mounts};  // the thread's, which never ends
  task->write();
  // What DHCP and routers tell is known later, and changes.
  auto wait_and_write = [](void* argument) {
    auto* own = static_cast<ResolverTask*>(argument);
    for (uint32_t seen = 0;; own->write()) seen = own->network.wait_changed(seen);
  };
  auto thread = Thread::create("resolver", Thread::Kind::kKernel, +wait_and_write, task);
  if (thread) {
    (*thread)->start();
  } else {
    delete task;
  }
}
ARIL_MACHINE_PART(490, resolver, write_resolver_configuration);

}  // namespace
}  // namespace aril::platform
