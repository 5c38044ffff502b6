#include <gtest/gtest.h>

#include "linux/process/credentials.hpp"
#include "linux/process/pending_signals.hpp"

namespace aril::linux_abi {
namespace {

void push(PendingSignals& pending, int number, uint64_t value = 0) {
  auto* signal = new QueuedSignal;
  signal->info.signal = number;
  signal->info.code = kSiQueue;
  signal->info.sender.value = value;
  pending.push(*signal);
}

TEST(PendingSignals, StandardSignalIsPendingOnce) {
  PendingSignals pending;
  EXPECT_TRUE(pending.accepts(kSigUsr1));
  push(pending, kSigUsr1);
  EXPECT_FALSE(pending.accepts(kSigUsr1));
  SignalInfo info;
  EXPECT_EQ(pending.take(SignalSet::all(), info), kSigUsr1);
  EXPECT_EQ(pending.take(SignalSet::all(), info), 0);
  EXPECT_TRUE(pending.accepts(kSigUsr1));
}

TEST(PendingSignals, RealTimeSignalsQueueInOrder) {
  PendingSignals pending;
  for (uint64_t value : {1, 2, 3}) push(pending, 40, value);
  push(pending, 35, 9);
  SignalInfo info;
  EXPECT_EQ(pending.take(SignalSet::all(), info), 35);  // the lowest number first
  for (uint64_t value : {1, 2, 3}) {
    EXPECT_EQ(pending.take(SignalSet::all(), info), 40);
    EXPECT_EQ(info.sender.value, value);
  }
  EXPECT_TRUE(pending.set().empty());
}

TEST(PendingSignals, FaultsComeFirst) {
  PendingSignals pending;
  push(pending, kSigHup);
  push(pending, kSigSegv);
  SignalInfo info;
  EXPECT_EQ(pending.take(SignalSet::all(), info), kSigSegv);
  EXPECT_EQ(pending.take(SignalSet::all(), info), kSigHup);
}

TEST(PendingSignals, TakesOnlyWhatIsWanted) {
  PendingSignals pending;
  push(pending, kSigTerm);
  SignalInfo info;
  EXPECT_EQ(pending.take(~SignalSet::of(kSigTerm), info), 0);
  EXPECT_TRUE(pending.set().contains(kSigTerm));
  pending.flush(SignalSet::of(kSigTerm));
  EXPECT_TRUE(pending.set().empty());
}

TEST(PendingSignals, GivesEmbeddedSignalsBack) {
  PendingSignals pending;
  QueuedSignal embedded;
  embedded.owned_by_queue = false;
  embedded.info.signal = kSigAlrm;
  pending.push(embedded);
  pending.withdraw(embedded);
  EXPECT_FALSE(embedded.node.is_linked());
  EXPECT_TRUE(pending.set().empty());
  pending.withdraw(embedded);  // not queued: nothing happens
}

TEST(PendingSignals, BareSignalHasNoDetails) {
  PendingSignals pending;
  pending.push_bare(kSigChld);
  SignalInfo info;
  EXPECT_EQ(pending.take(SignalSet::all(), info), kSigChld);
  EXPECT_EQ(info.code, kSiUser);
}

// [capabilities(7)] "Effect of user ID changes on capabilities".
TEST(Credentials, DropsCapabilitiesWithTheLastRootId) {
  Credentials credentials;
  credentials.change_user_ids(0, 33, 0);
  EXPECT_EQ(credentials.effective, 0u);
  EXPECT_EQ(credentials.permitted, kAllCapabilities);
  credentials.change_user_ids(0, 0, 0);
  EXPECT_EQ(credentials.effective, kAllCapabilities);
  credentials.change_user_ids(33, 33, 33);
  EXPECT_EQ(credentials.permitted, 0u);
  EXPECT_FALSE(credentials.can(Capability::kSetUid));
}

TEST(Credentials, KeepsPermittedCapabilitiesWhenAsked) {
  Credentials credentials;
  credentials.keep_capabilities = true;
  credentials.change_user_ids(33, 33, 33);
  EXPECT_EQ(credentials.permitted, kAllCapabilities);
  EXPECT_EQ(credentials.effective, 0u);
  credentials.recompute_at_exec();
  EXPECT_EQ(credentials.permitted, 0u);
  EXPECT_FALSE(credentials.keep_capabilities);
}

TEST(Credentials, KnowsItsGroups) {
  Credentials credentials;
  credentials.change_group_ids(5, 6, 7);
  EXPECT_TRUE(credentials.is_member(6));
  EXPECT_FALSE(credentials.is_member(9));
  credentials.groups = adopt_ref(new GroupList);
  credentials.groups->ids = {9, 10};
  EXPECT_TRUE(credentials.is_member(9));
}

}  // namespace
}  // namespace aril::linux_abi
