#include "net/ip/counters.hpp"

namespace aril::net {

Counters::Name Counters::name(Counter counter) {
#define ARIL_NET_COUNTER_TEXT(group, name) {#group, #name},
  static constexpr Name kNames[] = {ARIL_NET_COUNTERS(ARIL_NET_COUNTER_TEXT)};
#undef ARIL_NET_COUNTER_TEXT
  static_assert(std::size(kNames) == kCount);
  return kNames[static_cast<size_t>(counter)];
}

std::string_view Counters::name(DropReason reason) {
#define ARIL_NET_REASON_TEXT(name) #name,
  static constexpr std::string_view kNames[] = {ARIL_NET_DROP_REASONS(ARIL_NET_REASON_TEXT)};
#undef ARIL_NET_REASON_TEXT
  static_assert(std::size(kNames) == kDropCount);
  return kNames[static_cast<size_t>(reason)];
}

}  // namespace aril::net
