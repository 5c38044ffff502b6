#pragma once
#include "linux/tty/terminal.hpp"

namespace aril::linux_abi {

/// Serves /dev/ptmx and /dev/pts/N [pty(7)].
void register_pseudo_terminals();
/// The pseudo-terminal that controls this session; null when none does.
RefPtr<Terminal> find_pseudo_terminal_of_session(int session);

}  // namespace aril::linux_abi
