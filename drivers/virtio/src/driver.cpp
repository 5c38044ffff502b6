#include "driver.hpp"

#include "kernel/log/log.hpp"

namespace aril::virtio {

Result<void> Driver::negotiate(uint64_t wanted) {
  if (!transport_->reset()) return fail(Errno::kIo);
  transport_->set_status(kStatusAcknowledge);
  transport_->set_status(kStatusAcknowledge | kStatusDriver);
  uint64_t offered = transport_->offered_features();
  if ((offered & kFeatureVersion1) == 0) return fail(Errno::kNoDev);
  // ACCESS_PLATFORM: addresses go through the platform's IOMMU; there is none, so physical
  // addresses are right either way, and a device that offers it may insist [virtio-1.2] 6.1.
  features_ = offered & (wanted | kFeatureVersion1 | kFeatureEventIndex | kFeatureAccessPlatform);
  transport_->accept_features(features_);
  transport_->set_status(kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk);
  if ((transport_->status() & kStatusFeaturesOk) == 0) return fail(Errno::kNoDev);
  return {};
}

void Driver::set_live() {
  transport_->set_status(kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk | kStatusDriverOk);
}

void Driver::fail_device(const char* what) {
  if (failed_.exchange(true, std::memory_order_acq_rel)) return;
  stop();
  ARIL_LOG_ERROR(
      "virtio", "%s: %s; the device is %s", transport_->place(), what,
      device_is_stopped() ? "reset and no longer used" : "no longer used, but does not reset");
}

void Driver::on_config_interrupt() {
  if (has_failed()) return;
  if ((transport_->status() & kStatusNeedsReset) != 0) {  // [virtio-1.2] 2.1.2
    fail_device("the device asks for a reset");
    on_failed();
    return;
  }
  on_config_change();
}

uint64_t Driver::read_config64(unsigned offset) {
  // [virtio-1.2] 2.5.1: the generation tells whether the two halves belong together. The bound is
  // for a device that changes it at every look.
  uint64_t value = 0;
  for (int attempts = 0; attempts < 16; ++attempts) {
    uint32_t before = transport_->config_generation();
    value = transport_->read_config(offset, 4) | uint64_t{transport_->read_config(offset + 4, 4)}
                                                     << 32;
    if (transport_->config_generation() == before) break;
  }
  return value;
}

}  // namespace aril::virtio
