#include "../src/console.hpp"

#include <gtest/gtest.h>

#include "fake_device.hpp"

namespace aril::virtio {
namespace {

using testing::bytes_of;
using testing::FakeDevice;
using testing::FakeTransport;

std::vector<std::byte>* output;

/// Takes all output at once, in the notification.
void take_output(FakeDevice& device, unsigned queue) {
  if (queue != 1) return;
  while (auto chain = device.queues[1].pop()) {
    auto bytes = chain->readable();
    output->insert(output->end(), bytes.begin(), bytes.end());
    device.queues[1].push(chain->head, 0);
  }
  device.interrupt(1);
}

class ConsoleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::initialize_memory();
    output = &output_;
    device_.id = kDeviceConsole;
    device_.on_notify = take_output;
    ASSERT_TRUE(console_.start().has_value());
    console_.set_receive_callback([](void* self) { ++static_cast<ConsoleTest*>(self)->wakes_; },
                                  this);
  }
  void TearDown() override { console_.stop(); }

  void type(std::string_view text) {
    auto chain = device_.queues[0].pop();
    ASSERT_TRUE(chain.has_value());
    device_.queues[0].push(chain->head, chain->fill(bytes_of(text)));
    device_.interrupt(0);
  }
  std::string read(size_t most) {
    std::string text(most, 0);
    text.resize(console_.read_available(std::as_writable_bytes(std::span(text))));
    return text;
  }

  FakeDevice device_;
  std::vector<std::byte> output_;
  ConsoleDriver console_{std::make_unique<FakeTransport>(device_)};
  unsigned wakes_ = 0;
};

TEST_F(ConsoleTest, WritesMoreThanItsBuffers) {
  std::vector<std::byte> text(50'000);
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<std::byte>(i * 13);
  ASSERT_TRUE(console_.write(text).has_value());
  EXPECT_EQ(output_, text);
  EXPECT_TRUE(console_.is_drained());
}

TEST_F(ConsoleTest, ReadsInParts) {
  EXPECT_EQ(read(10), "");
  type("hello world");
  EXPECT_EQ(wakes_, 1u);
  type("!");
  EXPECT_EQ(read(5), "hello");
  EXPECT_EQ(read(100), " world!");
  EXPECT_EQ(device_.queues[0].waiting(), 4);
  type("again");
  EXPECT_EQ(wakes_, 2u);
  EXPECT_EQ(read(100), "again");
}

TEST_F(ConsoleTest, EmptyBuffersAreSkipped) {
  type("");
  type("x");
  EXPECT_EQ(read(10), "x");
}

TEST_F(ConsoleTest, BrokenRingFails) {
  device_.queues[0].push(1000, 1);
  EXPECT_EQ(read(10), "");
  EXPECT_TRUE(console_.has_failed());
  EXPECT_EQ(console_.write(bytes_of("x")).error(), Errno::kIo);
  EXPECT_TRUE(console_.is_drained());
}

/// A device with control queues that announces the ports 0 and 1.
void talk(FakeDevice& device, unsigned queue) {
  if (queue == 5) {
    while (auto chain = device.queues[5].pop()) {
      auto bytes = chain->readable();
      output->insert(output->end(), bytes.begin(), bytes.end());
      device.queues[5].push(chain->head, 0);
    }
  }
  if (queue != 3) return;
  while (auto chain = device.queues[3].pop()) {
    auto bytes = chain->readable();
    device.queues[3].push(chain->head, 0);
    ConsoleControl message{};
    ASSERT_EQ(bytes.size(), sizeof message);
    std::memcpy(&message, bytes.data(), sizeof message);
    if (message.event == kConsolePortOpen) EXPECT_EQ(message.port, 1u);
    if (message.event != kConsoleDeviceReady) continue;
    for (uint32_t port : {0u, 1u}) {
      const ConsoleControl added{.port = port, .event = kConsolePortAdd, .value = 1};
      auto buffer = device.queues[2].pop();
      ASSERT_TRUE(buffer.has_value());
      auto filled = buffer->fill(std::as_bytes(std::span(&added, 1)));
      device.queues[2].push(buffer->head, filled);
    }
  }
}

TEST(ConsolePortsTest, OpensTheGenericPort) {
  testing::initialize_memory();
  std::vector<std::byte> written;
  output = &written;
  FakeDevice device;
  device.id = kDeviceConsole;
  device.offered |= kConsoleMultiport;
  device.on_notify = talk;
  ConsoleDriver console{std::make_unique<FakeTransport>(device)};
  ASSERT_TRUE(console.start().has_value());
  ASSERT_TRUE(console.write(bytes_of("hello")).has_value());
  EXPECT_EQ(written.size(), 5u);
  console.stop();
}

TEST(ConsolePortsTest, GivesUpOnASilentDevice) {
  testing::initialize_memory();
  FakeDevice device;
  device.id = kDeviceConsole;
  device.offered |= kConsoleMultiport;
  ConsoleDriver console{std::make_unique<FakeTransport>(device)};
  EXPECT_FALSE(console.start().has_value());
  console.stop();
}

}  // namespace
}  // namespace aril::virtio
