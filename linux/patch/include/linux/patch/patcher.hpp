#pragma once
#include <cstdint>

#include "arch/trap_frame.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "kernel/vm/address_space.hpp"

/// Turns `mov $number, %eax; syscall` into a jump to a stub that enters the kernel without the
/// instruction's cost, the second time such a site traps [DESIGN.md, docs/system-calls.md].
///
/// Only the mov is overwritten, by a jump of its size: the `syscall` behind it stays for code that
/// jumps there, and traps. `xor %eax, %eax; syscall` has room for a short jump only, which goes by
/// way of padding near it. An address inside a stub, or of such a jump, is never shown to the
/// application.
namespace aril::linux_abi {

/// `patch=off`. Before the first program. Null in an image that does not rewrite, as are the three
/// that entries to the kernel call.
[[gnu::weak]] void set_patching(bool enabled);

/// A `syscall` instruction trapped: `frame` as at entry. May patch its site. Thread context.
[[gnu::weak]] void consider_call_site(const arch::TrapFrame& frame);

/// For an interrupted instruction pointer: the place in the program that it stands for, which is
/// itself unless it lies in a stub. Thread context.
[[gnu::weak]] uint64_t unpatched_address(uint64_t instruction_pointer);

/// True when a breakpoint that was met at `address` was one that held this CPU off while another
/// rewrote the site: the instruction must be run again. Thread context.
[[gnu::weak]] bool is_patched_site(uint64_t address);

/// AddressSpace::fork, and the copy knows its patched sites.
Result<RefPtr<AddressSpace>> fork_address_space(AddressSpace& space);

/// Sites patched since boot.
uint64_t patched_site_count();

}  // namespace aril::linux_abi
