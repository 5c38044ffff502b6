#pragma once
#include <vector>

#include "base/process_abi.hpp"
#include "filter.hpp"

namespace aril::tender {

/// Every host call that an instance may make, for what it was given; eleven different ones at most.
std::vector<Rule> policy(const ProcessBoot& boot);

}  // namespace aril::tender
