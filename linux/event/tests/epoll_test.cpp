#include "linux/event/epoll.hpp"

#include <gtest/gtest.h>

#include "linux/event/event_fd.hpp"
#include "linux/event/poller.hpp"

namespace aril::linux_abi {
namespace {

class FakeFile final : public File {
 public:
  FakeFile() : File(OpenFlags::kReadWrite) {}
  PollEvents poll(PollRegistrar* registrar) override {
    if (registrar != nullptr) registrar->watch(queue);
    return events;
  }
  [[nodiscard]] bool is_pollable() const override { return true; }
  void raise(PollEvents value) {
    events = value;
    queue.wake_all(std::to_underlying(value));
  }
  WaitQueue queue;
  PollEvents events = PollEvents::kNone;
};

RefPtr<FakeFile> make_file() { return adopt_ref(new FakeFile); }
constexpr auto kIn = std::to_underlying(PollEvents::kIn);

struct EpollTest : testing::Test {
  RefPtr<Epoll> epoll = *Epoll::create({});
  RefPtr<FakeFile> file = make_file();
  EpollEvent out[8];
  // Copies: the structure is packed, and EXPECT_EQ binds references.
  [[nodiscard]] uint64_t data(int i) const { return out[i].data; }
  [[nodiscard]] uint32_t events(int i) const { return out[i].events; }
  size_t collect() { return epoll->collect(out); }
};

TEST_F(EpollTest, LevelTriggeredStaysReady) {
  ASSERT_TRUE(epoll->add(*file, 3, {kIn, 42}));
  EXPECT_EQ(collect(), 0u);
  file->raise(PollEvents::kIn);
  EXPECT_EQ(collect(), 1u);
  EXPECT_EQ(data(0), 42u);
  EXPECT_EQ(events(0), kIn);
  EXPECT_EQ(collect(), 1u);
  file->events = PollEvents::kNone;
  EXPECT_EQ(collect(), 0u);
  EXPECT_EQ(epoll->poll(nullptr), PollEvents::kNone);
}

TEST_F(EpollTest, EdgeTriggeredOnce) {
  file->events = PollEvents::kIn;
  ASSERT_TRUE(epoll->add(*file, 3, {kIn | EPOLLET, 1}));
  EXPECT_EQ(collect(), 1u);
  EXPECT_EQ(collect(), 0u);
  file->raise(PollEvents::kIn);
  EXPECT_EQ(collect(), 1u);
}

TEST_F(EpollTest, OneShotNeedsModify) {
  ASSERT_TRUE(epoll->add(*file, 3, {kIn | EPOLLONESHOT, 1}));
  file->raise(PollEvents::kIn);
  EXPECT_EQ(collect(), 1u);
  file->raise(PollEvents::kIn | PollEvents::kHup);
  EXPECT_EQ(collect(), 0u);
  ASSERT_TRUE(epoll->modify(*file, 3, {kIn | EPOLLONESHOT, 2}));
  EXPECT_EQ(collect(), 1u);
  EXPECT_EQ(data(0), 2u);
}

TEST_F(EpollTest, HangUpIsAlwaysReported) {
  ASSERT_TRUE(epoll->add(*file, 3, {0, 1}));
  file->raise(PollEvents::kHup);
  ASSERT_EQ(collect(), 1u);
  EXPECT_EQ(events(0), std::to_underlying(PollEvents::kHup));
}

TEST_F(EpollTest, Errors) {
  EXPECT_EQ(epoll->add(*epoll, 1, {kIn, 0}).error(), Errno::kInval);
  ASSERT_TRUE(epoll->add(*file, 3, {kIn, 0}));
  EXPECT_EQ(epoll->add(*file, 3, {kIn, 0}).error(), Errno::kExist);
  EXPECT_TRUE(epoll->add(*file, 4, {kIn, 0}));
  EXPECT_EQ(epoll->modify(*file, 5, {kIn, 0}).error(), Errno::kNoEnt);
  EXPECT_TRUE(epoll->remove(*file, 3));
  EXPECT_EQ(epoll->remove(*file, 3).error(), Errno::kNoEnt);
}

TEST_F(EpollTest, LastCloseRemoves) {
  ASSERT_TRUE(epoll->add(*file, 3, {kIn, 7}));
  file->raise(PollEvents::kIn);
  file.reset();
  EXPECT_EQ(collect(), 0u);
}

TEST_F(EpollTest, EpollGoesFirst) {
  ASSERT_TRUE(epoll->add(*file, 3, {kIn, 7}));
  epoll.reset();
  file->raise(PollEvents::kIn);
}

TEST_F(EpollTest, BatchesRotateThroughAllFiles) {
  std::vector<RefPtr<FakeFile>> files;
  for (uint64_t i = 0; i < 10; ++i) {
    files.push_back(make_file());
    files.back()->events = PollEvents::kIn;
    ASSERT_TRUE(epoll->add(*files.back(), int(i), {kIn, i}));
  }
  uint64_t seen = 0;
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(epoll->collect(std::span(out).first(5)), 5u);
    for (int i = 0; i < 5; ++i) seen |= 1u << out[i].data;
  }
  EXPECT_EQ(seen, 0x3ffu);
}

TEST_F(EpollTest, Nests) {
  auto outer = *Epoll::create({});
  ASSERT_TRUE(epoll->add(*file, 3, {kIn, 1}));
  ASSERT_TRUE(outer->add(*epoll, 4, {kIn, 2}));
  EXPECT_EQ(outer->collect(out), 0u);
  file->raise(PollEvents::kIn);
  EXPECT_EQ(outer->collect(out), 1u);
  EXPECT_EQ(data(0), 2u);
  EXPECT_EQ(collect(), 1u);
  EXPECT_EQ(epoll->add(*outer, 5, {kIn, 0}).error(), Errno::kLoop);
}

TEST_F(EpollTest, ChainsAreBounded) {
  std::vector<RefPtr<Epoll>> chain;
  chain.push_back(*Epoll::create({}));
  for (int i = 0; i < 4; ++i) {
    chain.push_back(*Epoll::create({}));
    EXPECT_TRUE(chain.back()->add(*chain[chain.size() - 2], 1, {kIn, 0})) << i;
  }
  auto top = *Epoll::create({});
  EXPECT_EQ(top->add(*chain.back(), 1, {kIn, 0}).error(), Errno::kLoop);
}

TEST(EventFd, CountsAndWakesEpoll) {
  auto epoll = *Epoll::create({});
  auto event = adopt_ref(new EventFd(OpenFlags::kNonBlock, 0, EventFd::Mode::kCounter));
  ASSERT_TRUE(epoll->add(*event, 3, {kIn | EPOLLET, 9}));
  uint64_t value = 5;
  IoBuffer::Segment segment;
  auto bytes = std::as_writable_bytes(std::span(&value, 1));
  auto write = [&] {
    auto buffer = IoBuffer::kernel(segment, bytes);
    return event->write(buffer);
  };
  auto read = [&] {
    auto buffer = IoBuffer::kernel(segment, bytes);
    return event->read(buffer);
  };
  EXPECT_EQ(write(), 8u);
  EXPECT_EQ(write(), 8u);
  EpollEvent out[2];
  EXPECT_EQ(epoll->collect(out), 1u);
  EXPECT_EQ(read(), 8u);
  EXPECT_EQ(value, 10u);
  EXPECT_EQ(read().error(), Errno::kAgain);
  value = ~uint64_t{0};
  EXPECT_EQ(write().error(), Errno::kInval);
  value = ~uint64_t{0} - 1;
  EXPECT_EQ(write(), 8u);
  EXPECT_EQ(event->poll(nullptr), kReadable);
  value = 1;
  EXPECT_EQ(write().error(), Errno::kAgain);
}

TEST(Poll, ReportsWithoutWaiting) {
  PollRequest requests[2];
  auto file = make_file();
  requests[0] = {.file = file, .wanted = PollEvents::kIn};
  EXPECT_EQ(poll_files(requests, Instant{}), 0u);
  file->events = PollEvents::kIn | PollEvents::kOut | PollEvents::kErr;
  EXPECT_EQ(poll_files(requests, Instant::never()), 1u);
  EXPECT_EQ(requests[0].result, PollEvents::kIn | PollEvents::kErr);
}

}  // namespace
}  // namespace aril::linux_abi
