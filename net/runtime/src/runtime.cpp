#include "net/runtime/runtime.hpp"

#include <algorithm>

#include "core.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "kernel/random/random.hpp"
#include "net/wire/address_text.hpp"

namespace aril::net {
namespace {
constexpr unsigned kIdleBudget = 32;
}

struct Runtime::Implementation {
  explicit Implementation(std::unique_ptr<Stack> stack) : core(std::move(stack)) {}
  [[nodiscard]] Link* link(uint32_t interface) {
    for (size_t i = 0; i < core.link_count; ++i)
      if (core.links[i]->interface().index() == interface) return core.links[i].get();
    return nullptr;
  }
  Core core;
};

Runtime::Runtime(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}

Runtime::~Runtime() = default;

Result<std::unique_ptr<Runtime>> Runtime::create() {
  StackConfig config{.secret = {random::next_u64(), random::next_u64()},
                     .seed = random::next_u64(),
                     // As Linux's tcp_mem: sockets may hold up to a quarter of the machine.
                     .memory_limit = page_allocator::statistics().total_pages * kPageSize / 4,
                     .now = aril::now()};
  auto stack = ARIL_TRY(Stack::create(config));
  std::unique_ptr<Implementation> implementation(new (std::nothrow)
                                                     Implementation(std::move(stack)));
  if (!implementation) return fail(Errno::kNoMem);
  ARIL_TRY(implementation->core.start());
  std::unique_ptr<Runtime> runtime(new (std::nothrow) Runtime(std::move(implementation)));
  if (!runtime) return fail(Errno::kNoMem);
  return runtime;
}

Runtime::Guard::Guard(Runtime& runtime) : runtime_(runtime) {
  runtime_.implementation_->core.lock();
}

Runtime::Guard::~Guard() { runtime_.implementation_->core.unlock(); }

Stack& Runtime::Guard::stack() const { return *runtime_.implementation_->core.stack; }

Stack* Runtime::Guard::operator->() const { return &stack(); }

Runtime::StateGuard::StateGuard(Runtime& runtime) : runtime_(runtime) {
  runtime_.implementation_->core.lock_state();
}

Runtime::StateGuard::~StateGuard() { runtime_.implementation_->core.unlock_state(); }

Result<uint32_t> Runtime::attach(NetDevice& device) {
  Core& core = implementation_->core;
  size_t number = core.link_count;
  if (number == Core::kMaxLinks) return fail(Errno::kNoSpc);
  std::unique_ptr<Link> link(new (std::nothrow) Link(core, device));
  if (!link) return fail(Errno::kNoMem);
  core.links[number] = std::move(link);
  ARIL_TRY(core.links[number]->start(static_cast<unsigned>(number)));
  // Release: whoever sees the count sees the link.
  core.link_count.store(number + 1, std::memory_order_release);
  return core.links[number]->interface().index();
}

Result<void> Runtime::configure_static(uint32_t interface, const Ipv4Configuration& configuration) {
  Guard guard(*this);
  Link* link = implementation_->link(interface);
  if (link == nullptr) return fail(Errno::kNoDev);
  return link->configure(configuration);
}

Result<void> Runtime::configure_static(uint32_t interface, const Ipv6Configuration& configuration) {
  Guard guard(*this);
  Link* link = implementation_->link(interface);
  if (link == nullptr) return fail(Errno::kNoDev);
  return link->configure(configuration);
}

Result<void> Runtime::enable_ipv6(uint32_t interface) {
  Guard guard(*this);
  Link* link = implementation_->link(interface);
  if (link == nullptr) return fail(Errno::kNoDev);
  return guard->ip().enable_ipv6(link->interface());
}

Result<void> Runtime::configure_dhcp(uint32_t interface, std::string_view host_name) {
  Guard guard(*this);
  Link* link = implementation_->link(interface);
  if (link == nullptr) return fail(Errno::kNoDev);
  return link->start_dhcp(host_name);
}

void Runtime::set_configurator(MakeLinkConfigurator make) {
  Guard guard(*this);
  implementation_->core.make_configurator = make;
}

Result<void> Runtime::wait_configured(Instant deadline) {
  Core& core = implementation_->core;
  return core.configured.wait_until(
      [&core] { return core.is_configured.load(std::memory_order_acquire); }, deadline,
      Interruptible::kNo);
}

uint32_t Runtime::wait_changed(uint32_t seen) {
  Core& core = implementation_->core;
  (void)core.configured.wait_until(
      [&] { return core.changes.load(std::memory_order_acquire) != seen; }, Instant::never(),
      Interruptible::kNo);
  return core.changes.load(std::memory_order_acquire);
}

std::string Runtime::resolver_configuration() {
  Guard guard(*this);
  std::string text;
  auto add = [&](IpAddress server) {
    text += "nameserver ";
    text += AddressText(server).view();
    text += '\n';
  };
  Core& core = implementation_->core;
  for (size_t i = 0; i < core.link_count; ++i) {
    for (IpAddress server : core.links[i]->configuration().nameservers) add(server);
    // A link-local one would need its scope.
    for (const auto& server : core.links[i]->interface().name_servers())
      if (!server.address.is_link_local()) add(server.address);
  }
  return text;
}

void Runtime::set_listen_hook(void (*hook)(uint16_t port)) {
  Guard guard(*this);
  implementation_->core.listen_hook = hook;
}

std::vector<NetDevice::QueueCounters> Runtime::queue_counters(uint32_t interface) {
  Guard guard(*this);
  std::vector<NetDevice::QueueCounters> counters;
  Link* link = implementation_->link(interface);
  if (link == nullptr) return counters;
  for (unsigned i = 0; i < link->device().queue_count(); ++i)
    counters.push_back(link->device().queue_counters(i));
  return counters;
}

bool Runtime::poll() {
  Core& core = implementation_->core;
  if (!core.try_lock()) return false;
  bool worked = false;
  for (size_t i = 0; i < core.link_count; ++i) worked |= core.links[i]->poll(kIdleBudget) != 0;
  core.unlock();
  return worked;
}

}  // namespace aril::net
