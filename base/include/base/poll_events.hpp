#pragma once
#include <cstdint>

#include "base/flags.hpp"

namespace aril {

/// What poll reports; values are Linux's POLL* and EPOLL* bits.
enum class PollEvents : uint32_t {
  kNone = 0,
  kIn = 0x1,
  kPri = 0x2,
  kOut = 0x4,
  kErr = 0x8,
  kHup = 0x10,
  kNval = 0x20,
  kRdNorm = 0x40,
  kRdBand = 0x80,
  kWrNorm = 0x100,
  kWrBand = 0x200,
  kMsg = 0x400,
  kRdHup = 0x2000,
};
ARIL_FLAG_OPERATORS(PollEvents);
inline constexpr PollEvents kReadable = PollEvents::kIn | PollEvents::kRdNorm;
inline constexpr PollEvents kWritable = PollEvents::kOut | PollEvents::kWrNorm;

}  // namespace aril
