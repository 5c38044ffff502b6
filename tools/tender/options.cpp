#include "options.hpp"

#include <getopt.h>

#include <cstdlib>

#include "base/process_abi.hpp"
#include "error.hpp"

namespace aril::tender {
namespace {

uint64_t number_of(const char* name, const char* text, uint64_t most) {
  char* end = nullptr;
  errno = 0;
  const uint64_t value = std::strtoull(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || value > most)
    die(std::string(name) + ": not a number that it may be: " + text);
  return value;
}

int descriptor_of(const char* name, const char* text) {
  constexpr uint64_t kMost = 1 << 20;
  return static_cast<int>(number_of(name, text, kMost));
}

}  // namespace

Options parse_options(int count, char** words) {
  enum Key {
    kKernel = 1,
    kRoot,
    kMemory,
    kCpus,
    kTap,
    kStream,
    kControl,
    kDisk,
    kReadOnlyDisk,
    kVolume
  };
  static const option kOptions[] = {{"kernel", required_argument, nullptr, kKernel},
                                    {"root", required_argument, nullptr, kRoot},
                                    {"memory", required_argument, nullptr, kMemory},
                                    {"cpus", required_argument, nullptr, kCpus},
                                    {"tap", required_argument, nullptr, kTap},
                                    {"frame-stream", required_argument, nullptr, kStream},
                                    {"control", required_argument, nullptr, kControl},
                                    {"disk", required_argument, nullptr, kDisk},
                                    {"read-only-disk", required_argument, nullptr, kReadOnlyDisk},
                                    {"volume", required_argument, nullptr, kVolume},
                                    {}};
  Options options;
  for (int key; (key = getopt_long(count, words, "", kOptions, nullptr)) != -1;) {
    switch (key) {
      case kKernel:
        options.kernel = optarg;
        break;
      case kRoot:
        options.root = optarg;
        break;
      case kMemory:
        options.memory = number_of("--memory", optarg, kRootPhysical);
        break;
      case kCpus:
        options.cpus = static_cast<unsigned>(number_of("--cpus", optarg, kProcessMaxCpus));
        break;
      case kTap:
        options.tap = optarg;
        break;
      case kStream:
        options.frame_stream = descriptor_of("--frame-stream", optarg);
        break;
      case kControl:
        options.control = descriptor_of("--control", optarg);
        break;
      case kDisk:
      case kReadOnlyDisk:
        options.disks.push_back({descriptor_of("--disk", optarg), key == kReadOnlyDisk});
        break;
      case kVolume:
        options.volumes.push_back(descriptor_of("--volume", optarg));
        break;
      default:
        die("aril-tender is started by `aril run --platform process`");
    }
  }
  if (optind + 1 != count || options.kernel.empty() || options.root.empty() ||
      options.memory == 0 || options.cpus == 0 || options.disks.size() > kProcessMaxDisks)
    die("aril-tender is started by `aril run --platform process`");
  options.command_line = words[optind];
  return options;
}

}  // namespace aril::tender
