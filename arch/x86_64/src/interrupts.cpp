#include "arch/interrupts.hpp"

#include <algorithm>
#include <atomic>
#include <span>

#include "arch/port_io.hpp"
#include "arch/startup.hpp"
#include "machine.hpp"

namespace aril::arch {
namespace {

/// One handler of a vector. Published by a release store and never removed, so that the interrupt
/// path reads the lists without a lock.
struct Handler {
  InterruptHandler function;
  void* argument;
  std::atomic<Handler*> next;
};
constexpr size_t kMaxHandlers = 192;
constinit Handler handlers[kMaxHandlers] = {};
constinit std::atomic<Handler*> vectors[256] = {};

struct IoApic {
  std::byte* registers = nullptr;
  uint32_t first_gsi = 0, pins = 0;
};
constexpr size_t kMaxIoApics = 8;
constexpr size_t kIsaLines = 16;
struct IsaRoute {
  uint32_t gsi;
  TriggerMode trigger;
  Polarity polarity;
};

// Changed under config_lock.
constinit std::atomic<bool> config_lock{false};
constinit size_t handlers_used = 0;
constinit unsigned next_vector = kFirstDeviceVector;
constinit IoApic io_apics[kMaxIoApics] = {};
constinit size_t io_apic_count = 0;
constinit IsaRoute isa_routes[kIsaLines] = {};
constinit uint8_t gsi_vectors[256] = {};  // 0: not connected

/// A spin lock with interrupts off; kernel/sync is a layer above.
class ConfigGuard {
 public:
  ConfigGuard() {
    while (config_lock.exchange(true, std::memory_order_acquire)) relax();
  }
  ~ConfigGuard() { config_lock.store(false, std::memory_order_release); }

 private:
  InterruptGuard interrupts_;
};

// I/O APIC registers [82093AA] 3.0: an index at 0, a window at 16.
uint32_t read_io_apic(const IoApic& apic, uint32_t index) {
  *reinterpret_cast<volatile uint32_t*>(apic.registers) = index;
  return *reinterpret_cast<volatile uint32_t*>(apic.registers + 16);
}
void write_io_apic(const IoApic& apic, uint32_t index, uint32_t value) {
  *reinterpret_cast<volatile uint32_t*>(apic.registers) = index;
  *reinterpret_cast<volatile uint32_t*>(apic.registers + 16) = value;
}
constexpr uint32_t kVersionRegister = 1, kRedirectionTable = 16;
constexpr uint32_t kRedirectMasked = 1u << 16, kRedirectLevel = 1u << 15, kRedirectLow = 1u << 13;

Result<void> add_handler_locked(unsigned vector, InterruptHandler function, void* argument) {
  if (handlers_used == kMaxHandlers) return fail(Errno::kNoSpc);
  Handler& handler = handlers[handlers_used++];
  handler.function = function;
  handler.argument = argument;
  handler.next.store(vectors[vector].load(std::memory_order_relaxed), std::memory_order_relaxed);
  // Release: the interrupt path sees a complete handler.
  vectors[vector].store(&handler, std::memory_order_release);
  return {};
}

Result<uint8_t> take_vector_locked() {
  if (next_vector == kDeviceVectorEnd) return fail(Errno::kNoSpc);
  return static_cast<uint8_t>(next_vector++);
}

const IoApic* io_apic_of(uint32_t gsi) {
  for (const IoApic& apic : std::span(io_apics, io_apic_count)) {
    if (gsi >= apic.first_gsi && gsi - apic.first_gsi < apic.pins) return &apic;
  }
  return nullptr;
}

/// Masks both 8259s: a PC's firmware may have left lines open, and their vectors are exceptions'.
void mask_legacy_pic() {
  out8(0x21, 0xff);
  out8(0xa1, 0xff);
}

}  // namespace

Result<void> initialize_io_apics(const InterruptConfig& config) {
  static constexpr InterruptConfig::IoApic kDefault[] = {{0xfec0'0000, 0}};
  io_apic_count = 0;
  auto wanted = config.io_apics.empty() ? std::span(kDefault) : config.io_apics;
  for (const auto& entry : wanted.first(std::min(wanted.size(), kMaxIoApics))) {
    IoApic apic{config.map_device(entry.address, kPageSize), entry.first_gsi, 0};
    if (apic.registers == nullptr) return fail(Errno::kNoMem);
    uint32_t version = read_io_apic(apic, kVersionRegister);
    if (version == ~0u) continue;  // nothing answers there
    apic.pins = (version >> 16 & 0xff) + 1;
    for (uint32_t pin = 0; pin < apic.pins; ++pin)
      write_io_apic(apic, kRedirectionTable + 2 * pin, kRedirectMasked);
    io_apics[io_apic_count++] = apic;
  }
  for (uint32_t line = 0; line < kIsaLines; ++line)
    isa_routes[line] = {line, TriggerMode::kEdge, Polarity::kActiveHigh};
  for (const auto& entry : config.isa_overrides) {
    if (entry.line >= kIsaLines) continue;
    isa_routes[entry.line] = {entry.gsi,
                              entry.level_triggered ? TriggerMode::kLevel : TriggerMode::kEdge,
                              entry.active_low ? Polarity::kActiveLow : Polarity::kActiveHigh};
  }
  return {};
}

Result<void> initialize_interrupts(const InterruptConfig& config) {
  if (config.has_legacy_pic) mask_legacy_pic();
  std::byte* registers = nullptr;
  if (!features.x2apic) {
    registers = config.map_device(config.local_apic, kPageSize);
    if (registers == nullptr) return fail(Errno::kNoMem);
  }
  local_apic::initialize(registers);
  return initialize_io_apics(config);
}

void dispatch_device_interrupt(unsigned vector) {
  Handler* handler = vectors[vector].load(std::memory_order_acquire);
  for (; handler != nullptr; handler = handler->next.load(std::memory_order_acquire))
    handler->function(handler->argument);
}

Result<InterruptVector> allocate_vector(InterruptHandler handler, void* argument) {
  ConfigGuard guard;
  uint8_t vector = ARIL_TRY(take_vector_locked());
  ARIL_TRY(add_handler_locked(vector, handler, argument));
  return InterruptVector{vector};
}

MsiMessage msi_message(InterruptVector vector, unsigned cpu) {
  // Fixed delivery to one physical APIC id, edge-triggered [SDM 3A 11.11].
  return {.address = 0xfee0'0000 | (uint64_t{cpu_block(cpu).apic_id & 0xff} << 12),
          .data = vector.vector};
}

Result<void> connect_global_interrupt(uint32_t gsi, TriggerMode trigger, Polarity polarity,
                                      InterruptHandler handler, void* argument) {
  ConfigGuard guard;
  const IoApic* apic = io_apic_of(gsi);
  if (apic == nullptr || gsi >= std::size(gsi_vectors)) return fail(Errno::kNoEnt);
  bool first = gsi_vectors[gsi] == 0;
  if (first) gsi_vectors[gsi] = ARIL_TRY(take_vector_locked());
  uint8_t vector = gsi_vectors[gsi];
  ARIL_TRY(add_handler_locked(vector, handler, argument));
  if (!first) return {};
  uint32_t low = vector;
  if (trigger == TriggerMode::kLevel) low |= kRedirectLevel;
  if (polarity == Polarity::kActiveLow) low |= kRedirectLow;
  uint32_t index = kRedirectionTable + 2 * (gsi - apic->first_gsi);
  write_io_apic(*apic, index + 1, cpu_block(0).apic_id << 24);
  write_io_apic(*apic, index, low);  // unmasks: last
  return {};
}

Result<void> connect_isa_interrupt(uint8_t line, InterruptHandler handler, void* argument) {
  if (line >= kIsaLines) return fail(Errno::kInval);
  const IsaRoute& route = isa_routes[line];
  return connect_global_interrupt(route.gsi, route.trigger, route.polarity, handler, argument);
}

}  // namespace aril::arch
