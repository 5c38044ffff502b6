#include "platform/common/command_line.hpp"

#include <gtest/gtest.h>

namespace aril::platform {
namespace {

TEST(CommandLine, SplitsAtBlanks) {
  for (std::string_view empty : {"", "   "}) EXPECT_EQ(take_word(empty), "");
  std::string_view rest = "  a b=c  \td ";
  for (std::string_view word : {"a", "b=c", "d", "", ""}) EXPECT_EQ(take_word(rest), word);
}

TEST(CommandLine, DecodesValues) {
  auto word = decode_word("arg=a%20b%25%C3%a4");
  ASSERT_TRUE(word.has_value());
  EXPECT_EQ(word->key, "arg");
  EXPECT_EQ(word->value, "a b%\xc3\xa4");
  EXPECT_EQ(decode_word("env=A=B=C")->value, "A=B=C");
  EXPECT_EQ(decode_word("strace")->value, "");
  for (const char* bad : {"a=%", "a=%2", "a=%zz", "a=x%4"})
    EXPECT_EQ(decode_word(bad).error(), Errno::kInval) << bad;
}

TEST(CommandLine, KernelOptions) {
  auto options = parse_kernel_options(
      "root=vda net=10.0.0.2/24,10.0.0.1 loglevel=7 tsc_khz=3000000 epoch_ns=1700000000000000000 "
      "stdio=serial tty=io winsize=132x50 strace aslr=off virtio_mmio.device=512@0xfeb00000:5 "
      "virtio_mmio.device=512@0xfeb00200:6 exec=/bin/true");
  EXPECT_EQ(options.root, RootSource::kDisk);
  EXPECT_EQ(options.net, "10.0.0.2/24,10.0.0.1");
  EXPECT_TRUE(options.more_net.empty());
  EXPECT_EQ(options.console_level, LogLevel::kDebug);
  EXPECT_EQ(options.tsc_khz, 3'000'000u);
  EXPECT_EQ(options.epoch_ns, 1'700'000'000'000'000'000);
  EXPECT_EQ(options.stdio, KernelOptions::Stdio::kSerial);
  EXPECT_TRUE(options.terminal_stdin);
  EXPECT_TRUE(options.terminal_stdout);
  EXPECT_FALSE(options.terminal_stderr);
  EXPECT_EQ(options.columns, 132);
  EXPECT_EQ(options.rows, 50);
  EXPECT_TRUE(options.strace);
  EXPECT_FALSE(options.aslr);
  ASSERT_EQ(options.virtio_mmio.size(), 2u);
  EXPECT_EQ(options.virtio_mmio[1], "512@0xfeb00200:6");
}

TEST(CommandLine, KnowsHowFarToFreeze) {
  using Freeze = KernelOptions::Freeze;
  EXPECT_EQ(parse_kernel_options("root=ram").freeze, Freeze::kNo);
  EXPECT_EQ(parse_kernel_options("root=ram freeze").freeze, Freeze::kFrozen);
  EXPECT_EQ(parse_kernel_options("freeze=warm").freeze, Freeze::kWarm);
}

TEST(CommandLine, BadValuesKeepTheDefaults) {
  auto options = parse_kernel_options(
      "root=sda loglevel=5 tsc_khz=fast tsc_khz=99999999999999999999999 winsize=80 tty=q aslr "
      "nonsense %=%");
  EXPECT_EQ(options.root, RootSource::kFirstThereIs);
  EXPECT_EQ(options.console_level, LogLevel::kWarning);
  EXPECT_EQ(options.tsc_khz, 0u);
  EXPECT_TRUE(options.aslr);
}

TEST(CommandLine, BootFileThenCommandLine) {
  ProgramSpec spec;
  using namespace std::string_view_literals;
  apply_boot_file(
      "exec=/usr/sbin/nginx\0arg=nginx\0arg=-g\0arg=daemon off;\0env=A=1\0env=B=2\0"
      "cwd=/srv\0hostname=web\0uid=33\0gid=33\0groups=4,27\0"sv,
      spec);
  EXPECT_EQ(spec.path, "/usr/sbin/nginx");
  ASSERT_EQ(spec.arguments.size(), 3u);
  EXPECT_EQ(spec.arguments[2], "daemon off;");
  EXPECT_EQ(spec.uid, 33u);
  EXPECT_EQ(spec.groups, (std::vector<uint32_t>{4, 27}));
  apply_command_line("env=A=3 env=C=4 cwd=/ loglevel=7", spec);
  EXPECT_EQ(spec.environment, (std::vector<std::string>{"A=3", "B=2", "C=4"}));
  EXPECT_EQ(spec.working_directory, "/");
  EXPECT_EQ(spec.arguments.size(), 3u);
  apply_command_line("arg=x arg=y%20z", spec);
  EXPECT_EQ(spec.arguments, (std::vector<std::string>{"x", "y z"}));
  EXPECT_EQ(spec.hostname, "web");
}

TEST(CommandLine, BootFileWithoutItsLastNul) {
  ProgramSpec spec;
  apply_boot_file("exec=/a", spec);
  EXPECT_EQ(spec.path, "/a");
  apply_boot_file(std::string_view("\0\0=\0x", 5), spec);
  EXPECT_EQ(spec.path, "/a");
}

}  // namespace
}  // namespace aril::platform
