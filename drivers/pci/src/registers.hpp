#pragma once
#include <cstdint>

/// Configuration-space registers [PCI 3.0 6.1, 6.2, 6.7, 6.8.2], as offsets of 32-bit words unless
/// noted.
namespace aril::pci {

inline constexpr uint16_t kIdentity = 0x00;  ///< vendor, device
inline constexpr uint16_t kCommand = 0x04;   ///< command, status
inline constexpr uint32_t kCommandMemory = 1u << 1;
inline constexpr uint32_t kCommandBusMaster = 1u << 2;
inline constexpr uint32_t kCommandInterruptDisable = 1u << 10;
inline constexpr uint32_t kStatusCapabilities = 1u << 20;
/// The status half holds write-one-to-clear bits: a read-modify-write must write zeros there.
inline constexpr uint32_t kCommandMask = 0xffff;

inline constexpr uint16_t kClass = 0x08;
inline constexpr uint32_t kClassBridgePciToPci = 0x0604;
inline constexpr uint16_t kHeaderType = 0x0e;  ///< one byte
inline constexpr uint8_t kHeaderMultifunction = 0x80;
inline constexpr uint16_t kFirstBar = 0x10;
inline constexpr unsigned kBarCount = 6;
inline constexpr uint32_t kBarIo = 1;
inline constexpr uint32_t kBarTypeMask = 6;
inline constexpr uint32_t kBarType64 = 4;
inline constexpr uint32_t kBarAddressMask = ~uint32_t{0xf};
inline constexpr uint16_t kBusNumbers = 0x18;     ///< of a bridge: primary, secondary, subordinate
inline constexpr uint16_t kCapabilities = 0x34;   ///< one byte
inline constexpr uint16_t kInterruptLine = 0x3c;  ///< one byte
inline constexpr uint16_t kInterruptPin = 0x3d;   ///< one byte
inline constexpr uint8_t kFirstCapability = 0x40;

inline constexpr uint32_t kMsixEnable = 1u << 31;
inline constexpr uint32_t kMsixFunctionMask = 1u << 30;

}  // namespace aril::pci
