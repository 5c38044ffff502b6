#pragma once

namespace aril::linux_abi {

/// From here on, when memory is out, the process that holds most of it is ended [proc(5)
/// oom_score_adj], rather than the one that happens to ask. At the first fork; any thread.
void watch_memory();

}  // namespace aril::linux_abi
