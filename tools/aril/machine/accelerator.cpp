#include "machine/accelerator.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <format>
#include <optional>

#include "machine/probe_image.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/process.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kTcgLimit(5000);
/// KVM starts somewhat slower than TCG on an idle host; a trap-and-emulate one by orders of
/// magnitude.
constexpr milliseconds kKvmAllowance(200);

/// Time until the probe has reset the machine; nothing when it did not within `limit`.
std::optional<milliseconds> time_probe(const std::string& qemu, const std::string& accelerator,
                                       const std::filesystem::path& image, milliseconds limit) {
  const Descriptor null(open("/dev/null", O_RDWR | O_CLOEXEC));
  const auto start = steady_clock::now();
  ChildProcess child({qemu, "-M", "microvm,x-option-roms=off,pit=off,pic=off,rtc=off", "-accel",
                      accelerator, "-nodefaults", "-no-user-config", "-display", "none",
                      "-no-reboot", "-m", "16M", "-kernel", image.string()},
                     {.descriptors = {{null.get(), 0}, {null.get(), 1}, {null.get(), 2}}});
  const auto status = child.wait(limit);
  if (!status || !WIFEXITED(*status) || WEXITSTATUS(*status) != 0) return std::nullopt;
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
}

Accelerator measure(const std::string& qemu, const std::filesystem::path& scratch) {
  const TemporaryDirectory directory(scratch);
  const std::filesystem::path image = directory.path() / "probe";
  write_file(image, probe_image());
  const auto tcg = time_probe(qemu, "tcg", image, kTcgLimit);
  const auto kvm = time_probe(qemu, "kvm", image, tcg.value_or(kTcgLimit) + kKvmAllowance);
  return kvm ? Accelerator::kKvm : Accelerator::kTcg;
}

Accelerator measured_once_per_boot(const std::string& qemu) {
  const std::filesystem::path cache = cache_directory();
  const std::filesystem::path file = cache / "accelerator";
  const std::string boot(trim(read_file("/proc/sys/kernel/random/boot_id")));
  const std::string known = read_prefix(file, 256);
  if (known == boot + " kvm\n") return Accelerator::kKvm;
  if (known == boot + " tcg\n") return Accelerator::kTcg;
  const Accelerator result = measure(qemu, cache);
  write_file(file, std::format("{} {}\n", boot, accelerator_name(result)));
  return result;
}

}  // namespace

AcceleratorChoice parse_accelerator(std::string_view text) {
  if (text == "auto") return AcceleratorChoice::kAutomatic;
  if (text == "kvm") return AcceleratorChoice::kKvm;
  if (text == "tcg") return AcceleratorChoice::kTcg;
  throw Error(std::format("'{}' is not an accelerator", text), "auto, kvm or tcg");
}

std::string_view accelerator_name(Accelerator accelerator) {
  return accelerator == Accelerator::kKvm ? "kvm" : "tcg";
}

Accelerator choose_accelerator(AcceleratorChoice choice, const std::string& qemu) {
  if (choice == AcceleratorChoice::kTcg) return Accelerator::kTcg;
  const bool usable = access("/dev/kvm", R_OK | W_OK) == 0;
  if (choice == AcceleratorChoice::kKvm) {
    if (!usable) {
      throw Error(std::format("/dev/kvm: {}", std::generic_category().message(errno)),
                  "--accel tcg runs without it");
    }
    return Accelerator::kKvm;
  }
  return usable ? measured_once_per_boot(qemu) : Accelerator::kTcg;
}

}  // namespace aril::tool
