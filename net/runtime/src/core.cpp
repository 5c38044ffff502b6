#include "core.hpp"

#include <algorithm>

#include "kernel/log/log.hpp"
#include "net/wire/address_text.hpp"

namespace aril::net {

namespace {

bool is_usable(const Interface& interface) {
  return !interface.addresses().empty() ||
         std::ranges::any_of(interface.ipv6_addresses(),
                             [](const auto& own) { return !own.address.is_link_local(); });
}

void log_event(Interface& interface, Ipv6Event event, IpAddress address) {
  auto name = interface.name();
  auto length = static_cast<int>(name.size());
  AddressText text(address);
  switch (event) {
    case Ipv6Event::kAddressAdded:
      ARIL_LOG_INFO("net", "%.*s: address %s from the network", length, name.data(), text.c_str());
      return;
    case Ipv6Event::kAddressExpired:
      return ARIL_LOG_WARNING("net", "%.*s: address %s expired", length, name.data(), text.c_str());
    case Ipv6Event::kDuplicate:
      return ARIL_LOG_WARNING("net", "%.*s: another machine has address %s: not used", length,
                              name.data(), text.c_str());
    case Ipv6Event::kNameServers:
    case Ipv6Event::kManagedAddresses:
    case Ipv6Event::kOtherConfiguration:
      return;
  }
}

}  // namespace

Core::Core(std::unique_ptr<Stack> owned) : stack(std::move(owned)), timer_(on_timer, this) {}

Result<void> Core::start() {
  stack->tcp().set_listen_hook(
      [](void* self, const Endpoint& local) {
        auto* core = static_cast<Core*>(self);
        if (core->listen_hook != nullptr) core->listen_hook(local.port);
      },
      this);
  stack->ip().set_ipv6_hook(
      [](void* self, Interface& interface, Ipv6Event event, IpAddress address) {
        log_event(interface, event, address);
        auto* core = static_cast<Core*>(self);
        for (size_t i = 0; i < core->link_count; ++i)
          if (&core->links[i]->interface() == &interface)
            core->links[i]->on_ipv6_event(event, address);
        core->configuration_changed();
      },
      this);
  thread_ = ARIL_TRY(Thread::create("net-timer", Thread::Kind::kKernel, run, this));
  thread_->start();
  return {};
}

void Core::entered() { stack->advance(now()); }

void Core::lock() {
  mutex_.lock();
  entered();
}

bool Core::try_lock() {
  if (!mutex_.try_lock()) return false;
  entered();
  return true;
}

void Core::unlock() {
  bool more = stack->ip().has_loopback() && stack->run_loopback();
  Instant deadline = stack->next_deadline();
  if (has_dhcp) {
    for (size_t i = 0; i < link_count; ++i)
      deadline = std::min(deadline, links[i]->dhcp_deadline());
  }
  const bool flush = has_frames && end_batches();
  if (more) deadline = stack->now();
  // Moved only when it must be earlier, or when it has passed: an early wake-up costs less than a
  // reprogrammed timer for every packet.
  bool passed = timer_deadline_ <= stack->now() && !is_due_.load(std::memory_order_relaxed);
  if (deadline < timer_deadline_ || passed) {
    timer_deadline_ = deadline;
    timer_.arm(deadline);
  }
  mutex_.unlock();
  if (!flush) return;
  // Telling a device leaves the machine: nobody shall wait for that.
  for (size_t i = 0; i < link_count; ++i) links[i]->flush();
}

/// Whether a device is to be told of frames.
bool Core::end_batches() {
  bool due = false;
  has_frames = false;
  for (size_t i = 0; i < link_count; ++i) {
    due |= links[i]->end_batches();
    has_frames |= links[i]->has_frames();
  }
  return due;
}

void Core::on_timer(void* self) {
  auto* core = static_cast<Core*>(self);
  // Release: the thread that sees it goes on to read the clock after it.
  core->is_due_.store(true, std::memory_order_release);
  core->due_.wake_all();
}

void Core::run(void* self) {
  auto* core = static_cast<Core*>(self);
  for (;;) {
    (void)core->due_.wait_until([core] { return core->is_due_.exchange(false); }, Instant::never(),
                                Interruptible::kNo);
    core->lock();
    core->timer_deadline_ = Instant::never();
    core->run_timers();
    core->unlock();
  }
}

void Core::run_timers() {
  stack->poll_timers();
  for (size_t i = 0; i < link_count; ++i) links[i]->poll_dhcp();
}

void Core::configuration_changed() {
  bool any = false;
  for (size_t i = 0; i < link_count; ++i) any |= is_usable(links[i]->interface());
  is_configured.store(any, std::memory_order_release);
  // Release: whoever sees the count finds what it counts.
  changes.fetch_add(1, std::memory_order_release);
  configured.wake_all();
}

}  // namespace aril::net
