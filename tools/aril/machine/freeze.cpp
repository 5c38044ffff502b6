#include "machine/freeze.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <base/image_abi.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <format>
#include <optional>
#include <string_view>

#include "image/frozen_image.hpp"
#include "image/image_elf.hpp"
#include "machine/qemu_command.hpp"
#include "machine/tsc.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/process.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace {

constexpr std::chrono::milliseconds kLimit(120'000);
/// Above, QEMU's machines have a hole in their memory, and the file is not the addresses any more.
constexpr uint64_t kMostMemory = uint64_t{2} << 30;

/// A file's bytes, mapped to be changed; the file itself is not.
class PrivateMapping {
 public:
  explicit PrivateMapping(const std::filesystem::path& path) {
    const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    size_ = std::filesystem::file_size(path);
    address_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0);
    if (address_ == MAP_FAILED) fail_with_errno(path.string(), errno);
  }
  PrivateMapping(const PrivateMapping&) = delete;
  PrivateMapping& operator=(const PrivateMapping&) = delete;
  ~PrivateMapping() { munmap(address_, size_); }
  std::span<std::byte> bytes() const { return {static_cast<std::byte*>(address_), size_}; }

 private:
  void* address_;
  size_t size_;
};

/// The text of the first record of this kind in what the kernel said.
std::optional<std::string> find_record(std::string_view log, std::string_view kind) {
  const std::string start = std::format("{} {} ", kRecordMark, kind);
  const size_t at = log.find(start);
  if (at == log.npos) return std::nullopt;
  const std::string_view rest = log.substr(at + start.size());
  return std::string(trim(rest.substr(0, rest.find('\n'))));
}

/// Boots it and waits until it has reset itself; what it said on its control line.
std::string run_until_frozen(const std::filesystem::path& image, FreezingPoint point,
                             const FreezingMachine& machine, const std::filesystem::path& memory,
                             const std::filesystem::path& log_path) {
  const TscMeter tsc;
  const Descriptor file(open(memory.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file || ftruncate(file.get(), static_cast<off_t>(machine.memory)) != 0)
    fail_with_errno(memory.string(), errno);
  const Descriptor log(open(log_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const Descriptor null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  // A clock that is only measured, on a busy host, may run far too fast: the program would remember
  // a time that has not come yet.
  std::string words = std::format("root=ram loglevel=4 stdio=hvc freeze{}",
                                  point == FreezingPoint::kInitialised ? "=warm" : "");
  if (machine.accelerator == Accelerator::kTcg) words += std::format(" tsc_khz={}", tsc.rate());
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  words += std::format(" epoch_ns={}",
                       std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
  const MachineConfig config = {.image = {.image = image},
                                .kernel_command_line = words,
                                .type = machine.type,
                                .accelerator = machine.accelerator,
                                .memory = machine.memory};
  ChildProcess qemu(freezing_command(find_qemu(), config, memory),
                    {.descriptors = {{null.get(), 0}, {log.get(), 1}, {log.get(), 2}}});
  if (!qemu.wait(kLimit)) {
    qemu.kill(SIGKILL);
    throw Error("the program did not come to a point where it can be frozen",
                "build it without --frozen");
  }
  return read_file(log_path);
}

}  // namespace

void freeze_image(const std::filesystem::path& path, FreezingPoint point,
                  const FreezingMachine& machine) {
  if (machine.memory > kMostMemory) {
    throw Error(std::format("a machine of {} cannot be frozen", human_size(machine.memory)),
                "--memory 2G is the most");
  }
  {
    const MappedFile file(path);
    const ImageInfo info = read_image(file.bytes());
    if (info.packed) throw Error("an image of the profile tiny cannot be frozen");
    if (info.descriptor.root_size == 0) {
      throw Error("an image whose root is a disk cannot be frozen", "--disk-root off");
    }
  }
  const TemporaryDirectory scratch(cache_directory());
  const std::filesystem::path memory = scratch.path() / "memory";
  const std::string log = run_until_frozen(path, point, machine, memory, scratch.path() / "log");
  const auto frozen = find_record(log, "frozen");
  if (!frozen) {
    const auto report = find_record(log, "report");
    const auto status = find_record(log, "exit");
    throw Error(std::format("the machine could not be frozen: {}",
                            report   ? *report
                            : status ? std::format("the program ended with status {}", *status)
                                     : "it said nothing of it"));
  }
  const size_t blank = frozen->find(' ');
  const auto entry = parse_number(std::string_view(*frozen).substr(0, blank));
  const auto data =
      parse_number(std::string_view(*frozen).substr(std::min(blank, frozen->size() - 1) + 1));
  if (!entry || !data) throw Error("the machine could not be frozen: it does not say where");
  const PrivateMapping bytes(memory);
  write_frozen_image(path, {.memory = bytes.bytes(), .entry = *entry, .data = *data});
}

}  // namespace aril::tool
