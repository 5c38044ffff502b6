// variants: dynamic static
// The C++ runtime at work: exceptions through frames and threads, std::filesystem, std::chrono,
// containers, streams, futures, locales.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "check.hpp"

namespace fs = std::filesystem;

static int depth_reached;
struct Counter {
  static inline int alive = 0;
  Counter() { ++alive; }
  ~Counter() { --alive; }
};
static void descend(int depth) {
  Counter counter;
  depth_reached = depth;
  if (depth == 50) throw std::out_of_range("bottom");
  descend(depth + 1);
}

PROPERTY(exceptions_unwind_and_destroy) {
  try {
    descend(0);
    CHECK(false);
  } catch (const std::exception& error) {
    CHECK(!strcmp(error.what(), "bottom"));
  }
  CHECK_EQ(depth_reached, 50);
  CHECK_EQ(Counter::alive, 0);
}
PROPERTY(exceptions_cross_threads_in_futures) {
  auto result = std::async(std::launch::async, []() -> int { throw std::logic_error("there"); });
  bool caught = false;
  try {
    result.get();
  } catch (const std::logic_error&) {
    caught = true;
  }
  CHECK(caught);
}
PROPERTY(bad_alloc_for_what_cannot_be) {
  bool caught = false;
  volatile size_t size = size_t{1} << 62;
  try {
    static char* volatile sink;
    sink = new char[size];
  } catch (const std::bad_alloc&) {
    caught = true;
  }
  CHECK(caught);
}
PROPERTY(threads_share_a_mutex) {
  std::mutex mutex;
  long total = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 5000; ++j) {
        std::lock_guard lock(mutex);
        ++total;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK_EQ(total, 40000);
}
PROPERTY(condition_variables_pass_a_ball) {
  std::mutex mutex;
  std::condition_variable changed;
  int turn = 0;
  auto player = [&](int mine) {
    for (int i = 0; i < 500; ++i) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return turn % 2 == mine; });
      ++turn;
      changed.notify_all();
    }
  };
  std::thread a(player, 0), b(player, 1);
  a.join();
  b.join();
  CHECK_EQ(turn, 1000);
}
static thread_local std::string text = "start";
PROPERTY(thread_local_objects_are_per_thread) {
  text = "main";
  std::string seen;
  std::thread([&] { seen = text; }).join();
  CHECK(seen == "start");
  CHECK(text == "main");
}
PROPERTY(atomics_wait_and_notify) {
  std::atomic<int> value = 0;
  std::thread waiter([&] {
    value.wait(0);
    value = 2;
  });
  value = 1;
  value.notify_all();
  waiter.join();
  CHECK_EQ(value.load(), 2);
}
PROPERTY(filesystem_walks_copies_renames) {
  const fs::path root = fs::temp_directory_path() / "aril-cpp-test";
  fs::remove_all(root);
  CHECK(fs::create_directories(root / "a/b/c"));
  std::ofstream(root / "a/b/file") << "content\n";
  fs::copy(root / "a", root / "copy", fs::copy_options::recursive);
  fs::rename(root / "copy/b/file", root / "copy/b/renamed");
  fs::create_symlink("b/file", root / "a/link");
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    names.push_back(entry.path().lexically_relative(root).string());
  }
  std::ranges::sort(names);
  std::string all;
  for (const auto& name : names) all += name + " ";
  CHECK(all == "a a/b a/b/c a/b/file a/link copy copy/b copy/b/c copy/b/renamed ");
  CHECK_EQ(fs::file_size(root / "a/link"), 8);
  CHECK(fs::is_symlink(root / "a/link"));
  CHECK(fs::equivalent(root / "a/link", root / "a/b/file"));
  CHECK_EQ(fs::remove_all(root), 10);
  CHECK(!fs::exists(root));
}
PROPERTY(filesystem_errors_are_exceptions) {
  bool caught = false;
  try {
    fs::directory_iterator walk("/nowhere/at/all");
  } catch (const fs::filesystem_error& error) {
    caught = error.code() == std::errc::no_such_file_or_directory;
  }
  CHECK(caught);
}
PROPERTY(clocks_advance_and_sleep) {
  using namespace std::chrono;
  const auto start = steady_clock::now();
  std::this_thread::sleep_for(30ms);
  CHECK(steady_clock::now() - start >= 30ms);
  CHECK(system_clock::now().time_since_epoch() > hours(24) * 365 * 50);
}
PROPERTY(calendar_formats) {
  std::time_t moment = 86400 * 365;
  std::tm parts = {};
  gmtime_r(&moment, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  CHECK(!strcmp(text, "1971-01-01 00:00:00"));
}
PROPERTY(streams_read_and_write) {
  std::stringstream stream;
  stream << 1.5 << ' ' << std::hex << 255 << ' ' << std::boolalpha << true;
  CHECK(stream.str() == "1.5 ff true");
}
PROPERTY(floating_point_survives_switches) {
  auto work = [](double seed) {
    double sum = seed;
    for (int i = 1; i < 200000; ++i) sum += 1.0 / (i * seed);
    return sum;
  };
  const double expected[] = {work(1), work(2), work(3), work(4)};
  std::vector<std::future<double>> results;
  for (int i = 1; i <= 4; ++i) results.push_back(std::async(std::launch::async, work, i));
  for (int i = 0; i < 4; ++i) CHECK(results[i].get() == expected[i]);
}
PROPERTY(regular_expressions_and_containers) {
  std::smatch match;
  const std::string text = "key = value";
  CHECK(std::regex_match(text, match, std::regex(R"((\w+)\s*=\s*(\w+))")));
  CHECK(match[2] == "value");
  std::map<int, std::string> map;
  for (int i = 0; i < 10000; ++i) map[i * 7919 % 10007] = std::to_string(i);
  CHECK_EQ(map.size(), 10000);
}
PROPERTY(random_device_gives_different_numbers) {
  std::random_device device;
  const unsigned a = device(), b = device(), c = device();
  CHECK(a != b || b != c);
}
