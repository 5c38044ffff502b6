#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/result.hpp"
#include "net/buffer/siphash.hpp"
#include "net/wire/address.hpp"

namespace aril::net {

struct FlowKey {
  Endpoint local, remote;
  constexpr bool operator==(const FlowKey&) const = default;
};

/// Base of whatever owns a pair of endpoints: an arriving segment finds it with one look-up.
class Flow {
 public:
  enum class Kind : uint8_t { kConnection, kHalfOpen, kTimeWait };
  Flow(Kind flow_kind, const FlowKey& flow_key) : kind(flow_kind), key(flow_key) {}
  Flow(const Flow&) = delete;
  Flow& operator=(const Flow&) = delete;

  const Kind kind;
  const FlowKey key;

 private:
  friend class FlowTable;
  uint64_t hash_ = 0;
  Flow* next_ = nullptr;
};

/// A hash table of flows, chained, growing with their number; the hash is keyed, so that a peer
/// cannot choose ports that collide. Does not own them.
class FlowTable {
 public:
  explicit FlowTable(const SipKey& key) : key_(key) {}

  /// Not for others to see. Our addresses are few: it is the remote ones that must not collide.
  [[nodiscard]] uint64_t hash(const FlowKey& key) const {
    return siphash_rounds<1, 3>(key_,
                                {std::rotl(key.local.address.low(), 32) ^ key.remote.address.low(),
                                 key.local.address.high() ^ key.remote.address.high()},
                                uint64_t{key.local.port} << 16 | key.remote.port, 4);
  }
  Flow* find(const FlowKey& key) const;
  /// The key is not in it yet. kNoMem only for the first.
  Result<void> insert(Flow& flow);
  void remove(Flow& flow);
  [[nodiscard]] size_t size() const { return count_; }

  template <typename Function>
  void for_each(Function function) {
    for (size_t i = 0; i < bucket_count_; ++i)
      for (Flow *flow = buckets_[i], *next; flow != nullptr; flow = next) {
        next = flow->next_;
        function(*flow);
      }
  }

 private:
  void grow();
  SipKey key_;
  std::unique_ptr<Flow*[]> buckets_;
  size_t bucket_count_ = 0;
  size_t count_ = 0;
};

}  // namespace aril::net
