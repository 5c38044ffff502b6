#pragma once
#include <linux/filter.h>

#include <span>

namespace aril::tender {

/// Namespaces of its own, no privileges, no capabilities, nothing to be gained by exec. What this
/// host does not allow is left out, but for the last.
void give_up_privileges();

/// For all threads. From here on `filter` decides.
void install_filter(std::span<const sock_filter> filter);

}  // namespace aril::tender
