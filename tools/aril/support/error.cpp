#include "support/error.hpp"

#include <system_error>

namespace aril::tool {

void fail_with_errno(const std::string& message, int error_number) {
  throw Error(std::format("{}: {}", message, std::generic_category().message(error_number)));
}

}  // namespace aril::tool
