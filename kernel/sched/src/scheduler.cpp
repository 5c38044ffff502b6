#include "kernel/sched/scheduler.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <new>
#include <utility>

#include "arch/page_table.hpp"
#include "kernel/log/log.hpp"

namespace aril {

namespace {

constexpr Duration kSlice = Duration::milliseconds(4);
/// A thread that slept may be this far behind the others when it wakes, and so run soon.
constexpr uint64_t kWakeBonus = 3'000'000;
/// A woken thread preempts the running one only when it is this far behind it.
constexpr int64_t kPreemptGranularity = 1'000'000;

/// CPU shares by nice value: each step is a factor of 1.25, nice 0 is 1024.
constexpr auto kWeights = [] {
  std::array<uint32_t, 40> weights{};
  for (int nice = -20; nice < 20; ++nice) {
    uint64_t weight = uint64_t{1024} << 20;
    for (int i = 0; i < (nice < 0 ? -nice : nice); ++i)
      weight = nice < 0 ? weight * 5 / 4 : weight * 4 / 5;
    weights[static_cast<size_t>(nice + 20)] = static_cast<uint32_t>(weight >> 20);
  }
  return weights;
}();

std::atomic<uint64_t> switch_count{0};
std::atomic<Scheduler::IdleHook> idle_hook{nullptr};

}  // namespace

struct Scheduler::RunQueue {
  SpinLock lock{LockRank::kRunQueue};
  PairingHeap<Thread, &Thread::run_node_, Thread::RunsBefore> threads;
  uint32_t count = 0;
  /// Never decreases: where new and woken threads join.
  uint64_t minimum_runtime = 0;
  uint64_t maximum_runtime = 0;
  std::atomic<bool> idle{false};
  std::atomic<int64_t> system_ns{0};

  // Only touched by the queue's own CPU.
  Thread* idle_thread = nullptr;
  Thread* previous = nullptr;
  /// `previous` is runnable, but its affinity excludes this CPU.
  bool previous_moves = false;
  /// Whose SIMD state the registers hold, on a machine with one CPU, where saving can wait.
  Thread* fpu_owner = nullptr;
  Timer slice_timer;
  Duration idle_time;

  SpinLock dead_lock{LockRank::kSpinLeaf};
  IntrusiveList<Thread, &Thread::dead_node_> dead;

  /// A thread that has run alone for long is ahead of the minimum, which moves only with switches:
  /// what joins now must not have that time in advance of it.
  void advance_minimum_locked(const Thread& current) {
    uint64_t least = current.virtual_runtime_;
    if (const Thread* next = threads.top();
        next != nullptr && static_cast<int64_t>(least - next->virtual_runtime_) > 0)
      least = next->virtual_runtime_;
    if (static_cast<int64_t>(least - minimum_runtime) > 0) minimum_runtime = least;
  }
  void insert_locked(Thread& thread) {
    threads.insert(thread);
    ++count;
    if (static_cast<int64_t>(thread.virtual_runtime_ - maximum_runtime) > 0)
      maximum_runtime = thread.virtual_runtime_;
  }
};

Scheduler::RunQueue& Scheduler::queue_of(unsigned cpu) {
  // Raw storage, constructed by start_boot_cpu: the queues live as long as the machine, so no
  // destructor is to be registered for them.
  alignas(RunQueue) static constinit std::byte storage[sizeof(RunQueue) * arch::kMaxCpus] = {};
  return reinterpret_cast<RunQueue*>(storage)[cpu];
}

Scheduler::RunQueue& Scheduler::queue_here() { return queue_of(arch::cpu_index()); }

unsigned Scheduler::choose_cpu(const Thread& thread) {
  unsigned last = thread.last_cpu();
  unsigned cpus = arch::cpu_count();
  auto allowed = [&](unsigned cpu) { return (thread.affinity_ >> cpu & 1) != 0; };
  bool last_usable = last < cpus && allowed(last);
  // An interrupt that ends idling, or a kernel thread that hands its work on: the woken thread runs
  // here next, which is sooner, and with warmer caches, than another CPU can be woken.
  if (unsigned here = arch::cpu_index(); cpus > 1 && allowed(here)) {
    RunQueue& queue = queue_of(here);
    Thread* current = arch::current_thread();
    if (current->kind_ == Thread::Kind::kKernel && queue.count == 0) return here;
  }
  if (cpus == 1 || (last_usable && queue_of(last).idle.load(std::memory_order_relaxed)))
    return last_usable ? last : 0;
  for (unsigned cpu = 0; cpu < cpus; ++cpu) {
    if (allowed(cpu) && queue_of(cpu).idle.load(std::memory_order_relaxed)) return cpu;
  }
  if (last_usable) return last;
  for (unsigned cpu = 0; cpu < cpus; ++cpu) {
    if (allowed(cpu)) return cpu;
  }
  return 0;
}

void Scheduler::make_runnable(Thread& thread, Arrival arrival) {
  arch::InterruptGuard interrupts;
  unsigned here = arch::cpu_index();
  // A thread that its CPU has not finished switching away from stays there: two CPUs could
  // otherwise each wait for the other to finish.
  bool leaving = thread.on_cpu_.load(std::memory_order_acquire);
  unsigned cpu = leaving ? thread.last_cpu() : choose_cpu(thread);
  RunQueue& queue = queue_of(cpu);
  arch::CpuBlock& block = arch::cpu_block(cpu);
  if (arrival == Arrival::kNew && cpu == here) account(*block.current_thread, now());
  {
    LockGuard guard(queue.lock);
    if (arrival == Arrival::kNew && cpu == here)
      queue.advance_minimum_locked(*block.current_thread);
    uint64_t floor = queue.minimum_runtime - (arrival == Arrival::kWoken ? kWakeBonus : 0);
    bool is_stranger = arrival == Arrival::kNew || thread.last_cpu() != cpu;
    if (is_stranger || static_cast<int64_t>(thread.virtual_runtime_ - floor) < 0)
      thread.virtual_runtime_ = floor;
    thread.cpu_.store(cpu, std::memory_order_relaxed);
    queue.insert_locked(thread);
  }
  if (cpu != here) {
    __atomic_store_n(&block.reschedule_needed, 1, __ATOMIC_RELEASE);
    arch::send_reschedule(cpu);
    return;
  }
  Thread* current = block.current_thread;
  if (current == nullptr || current == queue.idle_thread) {
    block.reschedule_needed = 1;
    return;
  }
  int64_t behind = static_cast<int64_t>(current->virtual_runtime_ - thread.virtual_runtime_);
  if (behind > kPreemptGranularity) {
    block.reschedule_needed = 1;
  } else if (!queue.slice_timer.is_armed()) {
    queue.slice_timer.arm(now() + kSlice);
  }
}

Thread* Scheduler::steal(RunQueue& thief) {
  unsigned here = arch::cpu_index();
  for (unsigned i = 1; i < arch::cpu_count(); ++i) {
    RunQueue& victim = queue_of((here + i) % arch::cpu_count());
    LockGuard guard(victim.lock);
    Thread* thread = victim.threads.top();
    if (thread == nullptr || (thread->affinity_ >> here & 1) == 0 ||
        thread->on_cpu_.load(std::memory_order_acquire))
      continue;
    victim.threads.remove(*thread);
    --victim.count;
    thread->virtual_runtime_ += thief.minimum_runtime - victim.minimum_runtime;
    thread->cpu_.store(here, std::memory_order_relaxed);
    return thread;
  }
  return nullptr;
}

Thread& Scheduler::pick_next(RunQueue& queue) {
  {
    LockGuard guard(queue.lock);
    if (Thread* thread = queue.threads.pop(); thread != nullptr) {
      --queue.count;
      if (static_cast<int64_t>(thread->virtual_runtime_ - queue.minimum_runtime) > 0)
        queue.minimum_runtime = thread->virtual_runtime_;
      return *thread;
    }
  }
  if (Thread* thread = steal(queue); thread != nullptr) return *thread;
  return *queue.idle_thread;
}

void Scheduler::account(Thread& thread, Instant now) {
  Duration used = now - thread.run_since_;
  thread.cpu_time_ = thread.cpu_time_ + used;
  thread.run_since_ = now;
  RunQueue& queue = queue_here();
  if (thread.kind_ == Thread::Kind::kKernel && &thread != queue.idle_thread)
    queue.system_ns.fetch_add(used.ns, std::memory_order_relaxed);
  uint64_t weight = kWeights[static_cast<size_t>(thread.nice_ + 20)];
  thread.virtual_runtime_ += static_cast<uint64_t>(std::max<int64_t>(used.ns, 0)) * 1024 / weight;
}

void Scheduler::start_slice(RunQueue& queue, Instant now) {
  bool wanted;
  {
    LockGuard guard(queue.lock);
    wanted = queue.count > 0;
  }
  if (wanted) {
    queue.slice_timer.arm(now + kSlice);
  } else if (queue.slice_timer.is_armed()) {
    queue.slice_timer.cancel();
  }
}

void Scheduler::set_running(Thread& thread) {
  LockGuard guard(thread.lock_);
  thread.state_ = Thread::State::kRunning;
}

void Scheduler::switch_away(Thread& from) {
  arch::CpuBlock& cpu = arch::this_cpu();
  RunQueue& queue = queue_here();
  cpu.reschedule_needed = 0;
  Instant time = now();
  account(from, time);
  Thread& next = pick_next(queue);
  next.run_since_ = time;
  if (&next == &from) {
    // Others may wait behind it: without a slice it would keep the CPU for good.
    set_running(from);
    start_slice(queue, time);
    return;
  }
  ARIL_ASSERT(!next.on_cpu_.load(std::memory_order_acquire));
  next.on_cpu_.store(true, std::memory_order_relaxed);
  set_running(next);
  start_slice(queue, time);

  bool one_cpu = arch::cpu_count() == 1;
  if (from.kind_ == Thread::Kind::kApplication) {
    from.thread_pointer_ = arch::thread_pointer();
    if (!one_cpu) {
      arch::fpu_save(from.fpu_area_);
      queue.fpu_owner = nullptr;
    } else if (from.state_ == Thread::State::kDead) {
      queue.fpu_owner = nullptr;
    } else {
      queue.fpu_owner = &from;
    }
  }
  if (next.kind_ == Thread::Kind::kApplication) {
    if (queue.fpu_owner != &next) {
      if (queue.fpu_owner != nullptr) arch::fpu_save(queue.fpu_owner->fpu_area_);
      arch::fpu_restore(next.fpu_area_);
      queue.fpu_owner = nullptr;
    }
    arch::set_thread_pointer(next.thread_pointer_);
  }
  if (next.owner_ != nullptr) next.owner_->on_switch_in();

  cpu.current_thread = &next;
  cpu.kernel_stack_bottom = next.stack_bottom_;
  cpu.kernel_stack_top = next.stack_top_;
  queue.previous = &from;
  switch_count.fetch_add(1, std::memory_order_relaxed);
  aril_switch_context(&from.context_, &next.context_);
  finish_switch();
}

void Scheduler::finish_switch() {
  RunQueue& queue = queue_here();
  Thread* previous = std::exchange(queue.previous, nullptr);
  bool dead = previous->state_ == Thread::State::kDead;
  // Release: whoever runs it next must see all that was saved.
  previous->on_cpu_.store(false, std::memory_order_release);
  if (std::exchange(queue.previous_moves, false)) make_runnable(*previous);
  if (!dead) return;
  // Its stack cannot be freed here: that flushes other CPUs' TLBs, which needs interrupts.
  LockGuard guard(queue.dead_lock);
  queue.dead.push_back(*previous);
}

void Scheduler::free_dead_threads() {
  for (unsigned cpu = 0; cpu < arch::cpu_count(); ++cpu) {
    RunQueue& queue = queue_of(cpu);
    for (;;) {
      Thread* thread;
      {
        LockGuard guard(queue.dead_lock);
        thread = queue.dead.pop_front();
      }
      if (thread == nullptr) break;
      RefPtr<Thread>::adopt(thread).reset();
    }
  }
}

void Scheduler::thread_start(void* argument) {
  auto* thread = static_cast<Thread*>(argument);
  finish_switch();
  arch::enable_interrupts();
  thread->entry_(thread->argument_);
  Thread::exit();
}

void Scheduler::reschedule_if_needed() {
  if (arch::this_cpu().reschedule_needed == 0) return;
  arch::InterruptGuard interrupts;
  Thread& self = Thread::current();
  RunQueue& queue = queue_here();
  // Acquire pairs with the release of a CPU that made a thread runnable here.
  static_cast<void>(__atomic_exchange_n(&arch::this_cpu().reschedule_needed, 0, __ATOMIC_ACQUIRE));
  bool must_move = (self.affinity_ >> arch::cpu_index() & 1) == 0;
  {
    LockGuard guard(queue.lock);
    if (queue.count == 0 && !must_move) return;
  }
  account(self, now());
  ++self.involuntary_switches_;
  {
    LockGuard guard(self.lock_);
    self.state_ = Thread::State::kRunnable;
  }
  if (must_move) {
    queue.previous_moves = true;
  } else {
    LockGuard guard(queue.lock);
    queue.insert_locked(self);
  }
  switch_away(self);
}

void Scheduler::yield() {
  {
    arch::InterruptGuard interrupts;
    RunQueue& queue = queue_here();
    Thread& self = Thread::current();
    LockGuard guard(queue.lock);
    if (static_cast<int64_t>(queue.maximum_runtime - self.virtual_runtime_) > 0)
      self.virtual_runtime_ = queue.maximum_runtime;
    arch::this_cpu().reschedule_needed = 1;
  }
  reschedule_if_needed();
}

void Scheduler::adopt_running_flow(Thread& thread) {
  arch::CpuBlock& cpu = arch::this_cpu();
  thread.state_ = Thread::State::kRunning;
  thread.on_cpu_.store(true, std::memory_order_relaxed);
  thread.cpu_.store(cpu.index, std::memory_order_relaxed);
  thread.run_since_ = now();
  thread.stack_bottom_ = cpu.kernel_stack_bottom;
  thread.stack_top_ = cpu.kernel_stack_top;
  queue_here().slice_timer.set_callback([](void*) { arch::this_cpu().reschedule_needed = 1; },
                                        nullptr);
  cpu.current_thread = &thread;
}

void Scheduler::start_boot_cpu() {
  for (unsigned cpu = 0; cpu < arch::kMaxCpus; ++cpu) new (&queue_of(cpu)) RunQueue;
  auto* boot = new Thread;
  boot->set_name("boot");
  adopt_running_flow(*boot);
  // The boot flow may sleep for a device, so the CPU needs an idle thread besides it.
  auto idle = Thread::create("idle", Thread::Kind::kKernel, [](void*) { idle_loop(); }, nullptr);
  if (!idle.has_value()) panic("no memory for the idle thread");
  (*idle)->state_ = Thread::State::kRunnable;
  queue_here().idle_thread = idle->leak();
}

void Scheduler::run_secondary_cpu() {
  auto* idle = new Thread;
  idle->set_name("idle");
  adopt_running_flow(*idle);
  queue_here().idle_thread = idle;
  idle_loop();
}

void Scheduler::finish_boot() { Thread::exit(); }

void Scheduler::idle_loop() {
  RunQueue& queue = queue_here();
  arch::enable_interrupts();
  for (;;) {
    free_dead_threads();
    IdleHook hook = idle_hook.load(std::memory_order_relaxed);
    if (hook != nullptr) hook();
    arch::disable_interrupts();
    Thread& self = Thread::current();
    bool work;
    {
      LockGuard guard(queue.lock);
      work = queue.count > 0;
    }
    if (work || arch::this_cpu().reschedule_needed != 0) {
      switch_away(self);
    } else {
      queue.idle.store(true, std::memory_order_seq_cst);
      arch::begin_idle();
      arch::wait_for_interrupt();
      arch::end_idle();
      queue.idle.store(false, std::memory_order_relaxed);
    }
    arch::enable_interrupts();
  }
}

void Scheduler::set_idle_hook(IdleHook hook) { idle_hook.store(hook, std::memory_order_relaxed); }

unsigned Scheduler::runnable_count() {
  unsigned count = 0;
  for (unsigned cpu = 0; cpu < arch::cpu_count(); ++cpu) {
    RunQueue& queue = queue_of(cpu);
    LockGuard guard(queue.lock);
    count += queue.count;
    if (arch::cpu_block(cpu).current_thread != queue.idle_thread) ++count;
  }
  return count;
}

unsigned Scheduler::waiting_here() {
  return __atomic_load_n(&queue_here().count, __ATOMIC_RELAXED);
}

uint64_t Scheduler::context_switches() { return switch_count.load(std::memory_order_relaxed); }

void Scheduler::park_fpu_state() {
  if (Thread* owner = std::exchange(queue_here().fpu_owner, nullptr))
    arch::fpu_save(owner->fpu_area_);
}

void Scheduler::note_system_time(Duration time) {
  queue_here().system_ns.fetch_add(time.ns, std::memory_order_relaxed);
}

Duration Scheduler::system_time(unsigned cpu) {
  return {queue_of(cpu).system_ns.load(std::memory_order_relaxed)};
}

Duration Scheduler::idle_time(unsigned cpu) {
  Thread* idle = queue_of(cpu).idle_thread;
  return idle != nullptr ? idle->cpu_time() : Duration{};
}

}  // namespace aril
