#include "linux/entry/dispatch.hpp"
#include "linux/pipe/pipe.hpp"
#include "linux/sockets/families.hpp"
#include "linux/trace/strace.hpp"
#include "platform/common/boot_part.hpp"

// What parts of the Linux ABI need beyond their system calls.
namespace aril::platform {
namespace {

void serve_fifo(Boot&) { linux_abi::register_fifo(); }
void serve_unix_sockets(Boot&) { linux_abi::register_unix_family(); }
void serve_inet_sockets(Boot& boot) {
  if (boot.network != nullptr) linux_abi::register_inet_family(*boot.network);
}
void serve_netlink(Boot& boot) {
  if (boot.network != nullptr) linux_abi::register_netlink_family();
}
void serve_packet_sockets(Boot& boot) {
  if (boot.network != nullptr) linux_abi::register_packet_family();
}
void serve_raw_sockets(Boot&) { linux_abi::register_raw_sockets(); }

int64_t call_traced(linux_abi::SyscallFunction function, uint64_t number,
                    const linux_abi::SyscallRecord* record, arch::TrapFrame& frame) {
  linux_abi::StraceCall trace(number, record, frame);
  int64_t result = function(frame);
  trace.finish(result);
  return result;
}
void trace_calls(Boot& boot) {
  if (boot.machine.options.strace) linux_abi::set_system_call_tracer(&call_traced);
}

ARIL_BOOT_PART(510, fifo, serve_fifo);
ARIL_BOOT_PART(511, unix, serve_unix_sockets);
ARIL_MACHINE_PART(512, inet, serve_inet_sockets);
ARIL_MACHINE_PART(513, netlink, serve_netlink);
ARIL_MACHINE_PART(514, packet, serve_packet_sockets);
ARIL_BOOT_PART(515, raw, serve_raw_sockets);
ARIL_MACHINE_PART(520, strace, trace_calls);

}  // namespace
}  // namespace aril::platform
