#pragma once
#include <cstdint>

#include "arch/trap_frame.hpp"

namespace aril::platform {

/// What a system call means to a machine that is going to be frozen.
enum class Predictable : uint8_t {
  kNo,        ///< its answer, or what it does, depends on the machine or the moment
  kYes,       ///< the image alone decides on it
  kOneCpu,    ///< likewise, as long as the machine has one CPU
  kNoEntropy  ///< as Linux answers it early in its boot: EAGAIN, there are no random bytes yet
};

/// Of what a dynamic linker does: libraries are found, read and mapped.
Predictable judge_linking(uint64_t number, const arch::TrapFrame& frame);

/// Also of what programs do while they initialise themselves, apart from any network and terminal:
/// they read their configuration, look at the clock, make files. The wall clock will have jumped
/// when they look again, as after a suspension.
Predictable judge_initialising(uint64_t number, const arch::TrapFrame& frame);

}  // namespace aril::platform
