#include "specialize/uses.hpp"

#include <gtest/gtest.h>

namespace aril::tool {
namespace {

Selection selection_of(std::map<std::string, std::string> calls, const SystemCallScan& scan = {}) {
  Selection selection = {.set = "tiny", .calls = std::move(calls)};
  selection.scans["/program"] = scan;
  return selection;
}

bool is_left_out(const Selection& selection, const char* use) {
  EXPECT_TRUE(all_uses().contains(use));
  return left_out_uses(selection).contains(use);
}

TEST(Uses, FollowSystemCalls) {
  EXPECT_EQ(left_out_uses(selection_of({})), all_uses());
  EXPECT_TRUE(is_left_out(selection_of({{"accept", "in /program"}}), "connect"));
  EXPECT_FALSE(is_left_out(selection_of({{"connect", "in /program"}}), "connect"));
  EXPECT_FALSE(is_left_out(selection_of({{"lgetxattr", "in /program"}}), "xattrs"));
  EXPECT_FALSE(is_left_out(selection_of({{"flock", "in /program"}}), "record_locks"));
  EXPECT_TRUE(is_left_out(selection_of({{"clone", "in /program"}}), "execve"));
  EXPECT_FALSE(is_left_out(selection_of({{"execveat", "in /program"}}), "execve"));
}

TEST(Uses, FollowStepsOfTheBoot) {
  Selection selection = selection_of({});
  selection.parts["402.overlay"] = "a test";
  EXPECT_FALSE(is_left_out(selection, "xattrs"));
  EXPECT_TRUE(is_left_out(selection, "forwarding"));
  selection.parts["440.proc"] = "a test";
  EXPECT_FALSE(is_left_out(selection, "forwarding"));
}

TEST(Uses, FollowArguments) {
  SystemCallScan scan;
  scan.option_levels = {1, 41};
  scan.option_names = {2, 26};
  const Selection ipv6 = selection_of({{"setsockopt", "in /program"}}, scan);
  for (const char* use : {"error_queue", "group_options", "ip_options", "tcp_options"}) {
    EXPECT_TRUE(is_left_out(ipv6, use)) << use;
  }
  scan.option_names = {20};  // IPV6_ADD_MEMBERSHIP
  EXPECT_FALSE(is_left_out(selection_of({{"setsockopt", "in /program"}}, scan), "group_options"));
  scan.option_names = {25};  // IPV6_RECVERR
  EXPECT_FALSE(is_left_out(selection_of({{"setsockopt", "in /program"}}, scan), "error_queue"));
  scan.option_levels = {6};
  EXPECT_FALSE(is_left_out(selection_of({{"setsockopt", "in /program"}}, scan), "tcp_options"));
  // Of another call.
  EXPECT_TRUE(is_left_out(selection_of({{"getsockopt", "in /program"}}, scan), "tcp_options"));
  scan.fcntl_commands = {2, 4};
  EXPECT_TRUE(is_left_out(selection_of({{"fcntl", "in /program"}}, scan), "record_locks"));
  scan.fcntl_commands = {2, 38};
  EXPECT_FALSE(is_left_out(selection_of({{"fcntl", "in /program"}}, scan), "record_locks"));
}

TEST(Uses, AreThereWhenArgumentsAreNotKnown) {
  SystemCallScan scan;
  scan.option_levels.reset();
  scan.option_names.reset();
  scan.fcntl_commands.reset();
  Selection selection =
      selection_of({{"setsockopt", "in /program"}, {"fcntl", "in /program"}}, scan);
  for (const char* use :
       {"error_queue", "group_options", "ip_options", "record_locks", "tcp_options"}) {
    EXPECT_FALSE(is_left_out(selection, use)) << use;
  }
  // One of several files is enough, and so is a call that the manifest names.
  selection = selection_of({{"fcntl", "in /program"}});
  selection.scans["/library"].fcntl_commands.reset();
  EXPECT_FALSE(is_left_out(selection, "record_locks"));
  selection = selection_of({{"fcntl", "the manifest's system_calls"}});
  EXPECT_FALSE(is_left_out(selection, "record_locks"));
}

TEST(Uses, AreAllThereForRings) {
  EXPECT_TRUE(left_out_uses(selection_of({{"io_uring_setup", "in /program"}})).empty());
}

}  // namespace
}  // namespace aril::tool
