#pragma once
#include <string>
#include <string_view>

namespace aril::tool {

enum class Accelerator { kKvm, kTcg };

/// What --accel says.
enum class AcceleratorChoice { kAutomatic, kKvm, kTcg };

AcceleratorChoice parse_accelerator(std::string_view text);
std::string_view accelerator_name(Accelerator accelerator);

/// The accelerator to use. kAutomatic takes KVM only where it has been seen to be fast: /dev/kvm
/// may exist and still trap every instruction, in nested and in emulated machines. The measurement
/// takes a fraction of a second once per boot of this host and is kept in aril's cache.
/// Throws Error when KVM is asked for and not usable.
Accelerator choose_accelerator(AcceleratorChoice choice, const std::string& qemu);

}  // namespace aril::tool
