#include "support/accounts.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace aril::tool {
namespace {

// Accounts and groups that every Debian has.
TEST(Accounts, AreTheHosts) {
  const auto root = find_account("root");
  ASSERT_TRUE(root);
  EXPECT_EQ(root->uid, 0u);
  EXPECT_EQ(root->gid, 0u);
  EXPECT_FALSE(std::ranges::contains(root->groups, 0u));
  const auto nobody = find_account("nobody");
  ASSERT_TRUE(nobody);
  EXPECT_EQ(nobody->uid, 65534u);
  EXPECT_EQ(find_group("root"), 0u);
}

TEST(Accounts, MayNotExist) {
  EXPECT_FALSE(find_account("nobody-has-this-name"));
  EXPECT_FALSE(find_account("--help"));
  EXPECT_FALSE(find_account(""));
  EXPECT_FALSE(find_group("nobody-has-this-name"));
  EXPECT_FALSE(find_group("--help"));
  EXPECT_FALSE(find_group(""));
}

}  // namespace
}  // namespace aril::tool
