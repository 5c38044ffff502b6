#pragma once
#include <string>
#include <vector>

#include "support/file.hpp"

namespace aril::tool {

/// What stands before each frame of a tap.
enum class TapHeader {
  kNone,      ///< nothing: frames are as on the wire
  kOffloads,  ///< struct virtio_net_hdr
};

/// A tap device, opened.
struct Tap {
  /// One for each queue. Empty when the device is not there or cannot be opened: who then opens it
  /// by its name says why.
  std::vector<Descriptor> queues;
  /// It was made for one queue, but several were wanted.
  bool has_one_queue = false;
};

/// Opens a tap device of this network namespace with up to `queues` queues.
Tap open_tap(const std::string& name, unsigned queues, TapHeader header);

}  // namespace aril::tool
