#pragma once
#include <set>
#include <string>

#include "specialize/selection.hpp"

namespace aril::tool {

/// The uses (base/image_use.hpp) that an image can have.
const std::set<std::string>& all_uses();

/// Those of them that the image does without, by what was selected for it: its system calls, their
/// arguments as far as all that matter are constants, and its steps of the boot.
std::set<std::string> left_out_uses(const Selection& selection);

}  // namespace aril::tool
