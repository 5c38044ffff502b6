#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace aril::tender {

/// An inherited descriptor, locked by whoever opened it.
struct DiskFile {
  int descriptor = -1;
  bool read_only = false;
};

/// What `aril run --platform process` says.
struct Options {
  std::string kernel, root, command_line;
  std::string tap;        ///< name; empty: none
  int frame_stream = -1;  ///< an inherited socket that carries frames
  int control = -1;       ///< an inherited socket: the control line
  uint64_t memory = 0;    ///< bytes
  unsigned cpus = 1;
  std::vector<DiskFile> disks;
  std::vector<int> volumes;  ///< inherited sockets, each with a server of 9P at its other end
};
/// Ends with a message for anything wrong.
Options parse_options(int count, char** words);

}  // namespace aril::tender
