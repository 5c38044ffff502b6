#include "../../vfs/tests/linux_oracle.hpp"
#include "fs/tmpfs/tmpfs.hpp"

namespace aril::vfs {
namespace {

class TmpfsOracle : public LinuxOracle, public ::testing::WithParamInterface<int> {};

TEST_P(TmpfsOracle, AnswersAsLinuxDoes) {
  mount(*tmpfs::Tmpfs::create({.mode = 0755}));
  run(static_cast<uint64_t>(GetParam()), 3000);
}

INSTANTIATE_TEST_SUITE_P(Seeds, TmpfsOracle, ::testing::Range(1, 61));

}  // namespace
}  // namespace aril::vfs
