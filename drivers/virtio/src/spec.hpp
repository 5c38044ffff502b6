#pragma once
#include <cstddef>
#include <cstdint>

#include "base/endian.hpp"

/// Numbers and layouts that the standard fixes [virtio-1.2]. The layouts are those of version 1:
/// little-endian.
namespace aril::virtio {

// [virtio-1.2] 5
inline constexpr uint32_t kDeviceNet = 1, kDeviceBlock = 2, kDeviceConsole = 3, kDeviceEntropy = 4,
                          kDeviceBalloon = 5, kDeviceNinep = 9;

// [virtio-1.2] 2.1
inline constexpr uint8_t kStatusAcknowledge = 1, kStatusDriver = 2, kStatusDriverOk = 4,
                         kStatusFeaturesOk = 8, kStatusNeedsReset = 64, kStatusFailed = 128;

constexpr uint64_t feature(unsigned bit) { return uint64_t{1} << bit; }

// [virtio-1.2] 6
inline constexpr uint64_t kFeatureIndirect = feature(28), kFeatureEventIndex = feature(29),
                          kFeatureVersion1 = feature(32), kFeatureAccessPlatform = feature(33);

/// [virtio-1.2] 2.7.5
struct Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);
inline constexpr uint16_t kDescriptorNext = 1, kDescriptorWrite = 2, kDescriptorIndirect = 4;

inline constexpr uint16_t kAvailNoInterrupt = 1;  ///< [virtio-1.2] 2.7.6
inline constexpr uint16_t kUsedNoNotify = 1;      ///< [virtio-1.2] 2.7.8

/// [virtio-1.2] 2.7: a queue's size is a power of two up to this.
inline constexpr uint16_t kMaxQueueSize = 32768;

// [virtio-1.2] 5.1.3
inline constexpr uint64_t kNetChecksum = feature(0), kNetGuestChecksum = feature(1),
                          kNetMtu = feature(3), kNetMac = feature(5), kNetGuestTso4 = feature(7),
                          kNetGuestTso6 = feature(8), kNetHostTso4 = feature(11),
                          kNetHostTso6 = feature(12), kNetHostUfo = feature(14),
                          kNetMergeBuffers = feature(15), kNetStatus = feature(16),
                          kNetControlQueue = feature(17), kNetMultiqueue = feature(22);

/// [virtio-1.2] 5.1.6: stands before every frame in both directions.
struct NetHeader {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t header_length;
  uint16_t gso_size;
  uint16_t checksum_start;
  uint16_t checksum_offset;
  uint16_t buffer_count;  ///< receive only
};
static_assert(sizeof(NetHeader) == 12);
inline constexpr uint8_t kNetNeedsChecksum = 1, kNetDataValid = 2;
inline constexpr uint8_t kGsoNone = 0, kGsoTcp4 = 1, kGsoUdp = 3, kGsoTcp6 = 4, kGsoEcn = 0x80;

// [virtio-1.2] 5.1.4
inline constexpr unsigned kNetConfigMac = 0, kNetConfigStatus = 6, kNetConfigMaxPairs = 8,
                          kNetConfigMtu = 10;
inline constexpr uint16_t kNetStatusLinkUp = 1;

/// [virtio-1.2] 5.1.6.5.5: a command on the control queue, answered by one byte.
struct NetSetPairs {
  uint8_t command_class;
  uint8_t command;
  uint16_t pairs;
};
static_assert(sizeof(NetSetPairs) == 4);
inline constexpr uint8_t kNetControlMq = 4, kNetControlMqPairsSet = 0, kNetControlOk = 0;
inline constexpr uint16_t kNetMaxPairs = 0x8000;

// [virtio-1.2] 5.2.3
inline constexpr uint64_t kBlockSizeMax = feature(1), kBlockSegmentMax = feature(2),
                          kBlockReadOnly = feature(5), kBlockFlush = feature(9);
// [virtio-1.2] 5.2.4
inline constexpr unsigned kBlockConfigCapacity = 0, kBlockConfigSizeMax = 8,
                          kBlockConfigSegmentMax = 12;

/// [virtio-1.2] 5.2.6
struct BlockHeader {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};
static_assert(sizeof(BlockHeader) == 16);
inline constexpr uint32_t kBlockIn = 0, kBlockOut = 1, kBlockFlushRequest = 4;
inline constexpr uint8_t kBlockStatusOk = 0;

// [virtio-1.2] 5.9.3 and 5.9.4, a draft when QEMU wrote its device: the length of the tag, the tag.
inline constexpr uint64_t kNinepMountTag = feature(0);
inline constexpr unsigned kNinepConfigTagLength = 0, kNinepConfigTag = 2;

// [virtio-1.2] 5.5.3
inline constexpr uint64_t kBalloonStatistics = feature(1), kBalloonFreePageHint = feature(3),
                          kBalloonReporting = feature(5);

// [virtio-1.2] 5.3.3
inline constexpr uint64_t kConsoleMultiport = feature(1);

/// [virtio-1.2] 5.3.6.2: a message on the control queues of a console with several ports.
struct ConsoleControl {
  uint32_t port;
  uint16_t event;
  uint16_t value;
};
static_assert(sizeof(ConsoleControl) == 8);
inline constexpr uint16_t kConsoleDeviceReady = 0, kConsolePortAdd = 1, kConsolePortReady = 3,
                          kConsolePortOpen = 6;

}  // namespace aril::virtio
