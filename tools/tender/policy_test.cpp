#include "policy.hpp"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>

#include <set>

namespace aril::tender {
namespace {

constexpr Gate kGate{kProcessKernelBase + 0x40, kProcessKernelBase + 0xc0};

ProcessBoot full_boot() {
  ProcessBoot boot{};
  boot.memory_descriptor = 10;
  boot.memory_size = (64 << 20) + 4096;
  boot.root_descriptor = 11;
  boot.network_descriptor = 12;
  boot.control_descriptor = 13;
  boot.cpu_count = 2;
  boot.process_id = 1000;
  boot.thread_ids[0] = 1000;
  boot.thread_ids[1] = 1001;
  boot.timer_ids[1] = 1;
  boot.console_descriptors[1] = 1;
  boot.console_descriptors[2] = 2;
  boot.disk_count = 2;
  boot.disks[0] = {.descriptor = 20, .read_only = 0, .size = 1 << 20};
  boot.disks[1] = {.descriptor = 21, .read_only = 1, .size = 1 << 20};
  boot.volume_count = 1;
  boot.volume_descriptors[0] = 22;
  boot.vdso_start = 0x7fff'0000'0000;
  boot.vdso_end = 0x7fff'0000'4000;
  return boot;
}

class Policy : public testing::Test {
 protected:
  uint32_t ask(const Call& call) const { return evaluate(program_, call); }

  /// The first call that a rule is about.
  static Call sample(const Rule& rule) {
    Call call{.number = rule.number,
              .arguments = {},
              .instruction_pointer = kGate.start,
              .architecture = AUDIT_ARCH_X86_64};
    for (const Condition& condition : rule.conditions) {
      call.arguments[condition.argument] = condition.first;
    }
    return call;
  }
  /// Whether some rule is about exactly this: what the filter should say, found the slow way.
  bool is_listed(const Call& call) const {
    for (const Rule& rule : rules_) {
      bool fits = rule.number == call.number;
      for (const Condition& condition : rule.conditions) {
        const uint64_t value = call.arguments[condition.argument] & condition.mask;
        fits = fits && value >= condition.first && value <= condition.last;
      }
      if (fits) return true;
    }
    return false;
  }

  const std::vector<Rule> rules_ = policy(full_boot());
  const std::vector<sock_filter> program_ = compile(rules_, kGate);
};

TEST_F(Policy, HasElevenCallsAndAReasonForEach) {
  std::set<unsigned> numbers;
  for (const Rule& rule : rules_) {
    numbers.insert(rule.number);
    EXPECT_NE(std::string_view(rule.reason), "") << rule.call;
  }
  EXPECT_EQ(numbers.size(), 11u);
}

TEST_F(Policy, AllowsWhatItListsFromTheGateAlone) {
  for (const Rule& rule : rules_) {
    Call call = sample(rule);
    EXPECT_EQ(ask(call), SECCOMP_RET_ALLOW) << rule.reason;
    call.instruction_pointer = kGate.end;
    EXPECT_EQ(ask(call), SECCOMP_RET_ALLOW) << rule.reason;
    for (const uint64_t elsewhere :
         {kGate.start - 1, kGate.end + 1, uint64_t{0x400000}, kGate.start + (uint64_t{1} << 32),
          kGate.start & 0xffff'ffff, ~uint64_t{0}}) {
      call.instruction_pointer = elsewhere;
      EXPECT_EQ(ask(call), SECCOMP_RET_TRAP) << rule.reason << " at " << elsewhere;
    }
  }
}

TEST_F(Policy, TrapsEveryOtherCall) {
  for (uint32_t number = 0; number < 1024; ++number) {
    for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{10}, ~uint64_t{0}}) {
      Call call{.number = number,
                .arguments = {value, value, value, value, value, value},
                .instruction_pointer = kGate.start,
                .architecture = AUDIT_ARCH_X86_64};
      EXPECT_EQ(ask(call), is_listed(call) ? SECCOMP_RET_ALLOW : SECCOMP_RET_TRAP) << number;
      // The numbers of the x32 ABI.
      call.number |= 0x4000'0000;
      EXPECT_EQ(ask(call), SECCOMP_RET_TRAP) << number;
    }
  }
}

TEST_F(Policy, HoldsItsBounds) {
  for (const Rule& rule : rules_) {
    for (const Condition& condition : rule.conditions) {
      const uint64_t far = uint64_t{1} << 32;
      for (const uint64_t value :
           {condition.first, condition.first - 1, condition.first + 1, condition.first + far,
            condition.first - far, condition.last, condition.last - 1, condition.last + 1,
            condition.last + far, condition.last - far, ~uint64_t{0}}) {
        Call call = sample(rule);
        call.arguments[condition.argument] = value;
        EXPECT_EQ(ask(call), is_listed(call) ? SECCOMP_RET_ALLOW : SECCOMP_RET_TRAP)
            << rule.reason << ": argument " << condition.argument << " is " << value;
      }
    }
  }
}

TEST_F(Policy, NeverMapsOverTheKernel) {
  for (uint64_t address = kProcessApplicationEnd; address < kProcessHostEnd;
       address += kProcessLongestMapping) {
    const bool is_stack = address >= kProcessKernelMapStart && address < kProcessKernelMapEnd;
    for (const uint64_t protection : {1, 3, 5, 7}) {
      Call call{.number = 9,
                .arguments = {address, 4096, protection, 0x8011, 10, 0},
                .instruction_pointer = kGate.start,
                .architecture = AUDIT_ARCH_X86_64};
      EXPECT_EQ(ask(call), is_stack && protection == 3 ? SECCOMP_RET_ALLOW : SECCOMP_RET_TRAP);
    }
  }
}

TEST_F(Policy, NeverWritesToTheRootOrAReadOnlyDisk) {
  Call call{.number = 9,
            .arguments = {0x10000, 4096, 3, 0x8011, 11, 0},
            .instruction_pointer = kGate.start,
            .architecture = AUDIT_ARCH_X86_64};
  EXPECT_EQ(ask(call), SECCOMP_RET_TRAP);
  call.arguments[2] = 5;
  EXPECT_EQ(ask(call), SECCOMP_RET_ALLOW);
  call = {.number = 328,
          .arguments = {21},
          .instruction_pointer = kGate.start,
          .architecture = AUDIT_ARCH_X86_64};
  EXPECT_EQ(ask(call), SECCOMP_RET_TRAP);
}

TEST_F(Policy, AsksForHugePagesOfTheMemoryAlone) {
  auto answer = [&](uint64_t address, uint64_t length, uint64_t advice) {
    return ask({.number = 28,
                .arguments = {address, length, advice},
                .instruction_pointer = kGate.start,
                .architecture = AUDIT_ARCH_X86_64});
  };
  constexpr uint64_t kLast = kMemoryBase + (62 << 20);
  EXPECT_EQ(answer(kLast, kProcessHugePage, 25), SECCOMP_RET_ALLOW);
  EXPECT_EQ(answer(kLast + kProcessHugePage, kProcessHugePage, 25), SECCOMP_RET_TRAP);
  EXPECT_EQ(answer(kMemoryBase, 2 * kProcessHugePage, 25), SECCOMP_RET_TRAP);
  EXPECT_EQ(answer(kRootBase, kProcessHugePage, 25), SECCOMP_RET_TRAP);
  // MADV_REMOVE, MADV_HWPOISON.
  EXPECT_EQ(answer(kMemoryBase, kProcessHugePage, 9), SECCOMP_RET_TRAP);
  EXPECT_EQ(answer(kMemoryBase, kProcessHugePage, 100), SECCOMP_RET_TRAP);
}

TEST_F(Policy, EndsWhatComesByAnotherDoor) {
  Call call = sample(rules_.front());
  call.architecture = AUDIT_ARCH_I386;
  EXPECT_EQ(ask(call), SECCOMP_RET_KILL_PROCESS);
}

}  // namespace
}  // namespace aril::tender
