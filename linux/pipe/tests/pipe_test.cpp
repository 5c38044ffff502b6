#include "linux/pipe/pipe.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernel/memory/page_allocator.hpp"

namespace aril::linux_abi {
namespace {

class Memory : public testing::Environment {
 public:
  void SetUp() override {
    const PhysicalRange usable[] = {{1 * kMiB, 16 * kMiB}};
    page_allocator::initialize(usable, {});
  }
};
[[maybe_unused]] auto* const g_memory = testing::AddGlobalTestEnvironment(new Memory);

Result<size_t> put(File& file, std::string_view text) {
  IoBuffer::Segment segment;
  std::vector<std::byte> bytes(text.size());
  memcpy(bytes.data(), text.data(), text.size());
  auto buffer = IoBuffer::kernel(segment, bytes);
  return file.write(buffer);
}

Result<std::string> get(File& file, size_t count) {
  IoBuffer::Segment segment;
  std::string text(count, '?');
  auto buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(text)));
  auto n = file.read(buffer);
  if (!n) return fail(n.error());
  text.resize(*n);
  return text;
}

TEST(Pipe, CarriesBytesAndEnds) {
  auto [reader, writer] = *make_pipe(OpenFlags::kNonBlock);
  EXPECT_EQ(get(*reader, 10).error(), Errno::kAgain);
  EXPECT_EQ(put(*writer, "hello "), 6u);
  EXPECT_EQ(put(*writer, "world"), 5u);
  EXPECT_EQ(reader->poll(nullptr), kReadable);
  EXPECT_EQ(*get(*reader, 8), "hello wo");
  EXPECT_EQ(*get(*reader, 8), "rld");
  EXPECT_EQ(put(*reader, "x").error(), Errno::kBadF);
  writer.reset();
  EXPECT_EQ(reader->poll(nullptr), PollEvents::kHup);
  EXPECT_EQ(*get(*reader, 8), "");
}

TEST(Pipe, BreaksWithoutReader) {
  auto [reader, writer] = *make_pipe(OpenFlags::kNonBlock);
  reader.reset();
  EXPECT_EQ(put(*writer, "x").error(), Errno::kPipe);
  EXPECT_TRUE(has(writer->poll(nullptr), PollEvents::kErr));
  EXPECT_TRUE(writer->raises_broken_pipe());
}

TEST(Pipe, FillsToCapacityAndKeepsSmallWritesWhole) {
  auto [reader, writer] = *make_pipe(OpenFlags::kNonBlock);
  std::string big(70'000, 'a');
  EXPECT_EQ(put(*writer, big), 65'536u);
  EXPECT_EQ(put(*writer, "b").error(), Errno::kAgain);
  EXPECT_EQ(writer->poll(nullptr), PollEvents::kNone);
  EXPECT_EQ(get(*reader, 4000)->size(), 4000u);
  EXPECT_EQ(put(*writer, std::string(4096, 'c')).error(), Errno::kAgain);
  EXPECT_EQ(get(*reader, 96)->size(), 96u);
  EXPECT_EQ(put(*writer, std::string(4096, 'c')), 4096u);
}

TEST(Pipe, ChangesCapacity) {
  auto [reader, writer] = *make_pipe(OpenFlags::kNonBlock);
  Pipe& pipe = *as_pipe(*reader);
  EXPECT_EQ(*pipe.set_capacity(5000), 8192u);
  EXPECT_EQ(put(*writer, std::string(10'000, 'a')), 8192u);
  EXPECT_EQ(pipe.set_capacity(4096).error(), Errno::kBusy);
  EXPECT_EQ(*pipe.set_capacity(1 << 20), size_t{1} << 20);
  EXPECT_EQ(pipe.set_capacity((1 << 20) + 1).error(), Errno::kPerm);
  EXPECT_EQ(get(*reader, 9000)->size(), 8192u);
}

TEST(Pipe, TeeLeavesTheSource) {
  auto [in_reader, in_writer] = *make_pipe(OpenFlags::kNonBlock);
  auto [out_reader, out_writer] = *make_pipe(OpenFlags::kNonBlock);
  EXPECT_EQ(put(*in_writer, "abc"), 3u);
  EXPECT_EQ(*as_pipe(*in_reader)->tee(*as_pipe(*out_writer), 2), 2u);
  EXPECT_EQ(put(*in_writer, "def"), 3u);
  EXPECT_EQ(put(*out_writer, "X"), 1u);
  EXPECT_EQ(*get(*out_reader, 10), "abX");
  EXPECT_EQ(*get(*in_reader, 10), "abcdef");
}

}  // namespace
}  // namespace aril::linux_abi
