// Works and prints what came out; the same on every run.
#include <omp.h>

#include <atomic>
#include <condition_variable>
#include <coroutine>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <numeric>
#include <regex>
#include <string>
#include <thread>
#include <vector>

namespace {

double integral(int steps) {
  double sum = 0;
#pragma omp parallel for reduction(+ : sum) schedule(dynamic, 1000)
  for (int i = 0; i < steps; ++i) {
    const double x = (i + 0.5) / steps;
    sum += 4 / (1 + x * x);
  }
  return sum / steps;
}

int tasks(int n) {
  if (n < 2) return n;
  int left = 0;
  int right = 0;
#pragma omp task shared(left) if (n > 15)
  left = tasks(n - 1);
#pragma omp task shared(right) if (n > 15)
  right = tasks(n - 2);
#pragma omp taskwait
  return left + right;
}

struct Generator {
  struct promise_type {
    int value = 0;
    Generator get_return_object() {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    std::suspend_always yield_value(int next) {
      value = next;
      return {};
    }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

Generator squares(int count) {
  for (int n = 1; n <= count; ++n) co_yield n* n;
}

int coroutines() {
  Generator generator = squares(1000);
  int sum = 0;
  for (generator.handle.resume(); !generator.handle.done(); generator.handle.resume()) {
    sum += generator.handle.promise().value;
  }
  generator.handle.destroy();
  return sum;
}

int futures() {
  std::vector<std::future<int>> results;
  for (int n = 0; n < 8; ++n) {
    results.push_back(std::async(std::launch::async, [n] {
      if (n == 5) throw std::runtime_error("five");
      return n;
    }));
  }
  int sum = 0;
  for (std::future<int>& result : results) {
    try {
      sum += result.get();
    } catch (const std::runtime_error& error) {
      std::printf("caught %s\n", error.what());
    }
  }
  return sum;
}

int ping_pong(int rounds) {
  std::mutex mutex;
  std::condition_variable turned;
  int turn = 0;
  auto player = [&](int side) {
    for (int round = 0; round < rounds; ++round) {
      std::unique_lock lock(mutex);
      turned.wait(lock, [&] { return turn % 2 == side; });
      ++turn;
      turned.notify_all();
    }
  };
  std::jthread other(player, 1);
  player(0);
  other.join();
  return turn;
}

int files() {
  const std::filesystem::path folder = "/tmp/aril-cpp-work";
  std::filesystem::create_directories(folder / "deep/er");
  std::ofstream(folder / "deep/er/file") << "number 123 and 456\n";
  std::ifstream stream(folder / "deep/er/file");
  const std::string text(std::istreambuf_iterator<char>(stream), {});
  const std::regex number("[0-9]+");
  int sum = 0;
  for (std::sregex_iterator match(text.begin(), text.end(), number), end; match != end; ++match) {
    sum += std::stoi(match->str());
  }
  return sum + static_cast<int>(std::filesystem::remove_all(folder));
}

}  // namespace

int main() {
  omp_set_num_threads(4);
  std::printf("integral %.6f\n", integral(400000));
  int fibonacci = 0;
#pragma omp parallel
#pragma omp single
  fibonacci = tasks(22);
  std::printf("tasks %d\n", fibonacci);
  std::printf("coroutines %d\n", coroutines());
  std::printf("futures %d\n", futures());
  std::printf("ping-pong %d\n", ping_pong(2000));
  std::printf("files %d\n", files());
}
