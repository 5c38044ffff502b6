#include "net/tcp/flow_table.hpp"

#include <new>

namespace aril::net {

Flow* FlowTable::find(const FlowKey& key) const {
  if (count_ == 0) return nullptr;
  uint64_t wanted = hash(key);
  for (Flow* flow = buckets_[wanted & (bucket_count_ - 1)]; flow != nullptr; flow = flow->next_)
    if (flow->hash_ == wanted && flow->key == key) return flow;
  return nullptr;
}

Result<void> FlowTable::insert(Flow& flow) {
  if (count_ >= bucket_count_) grow();
  if (bucket_count_ == 0) return fail(Errno::kNoMem);
  flow.hash_ = hash(flow.key);
  Flow*& head = buckets_[flow.hash_ & (bucket_count_ - 1)];
  flow.next_ = head;
  head = &flow;
  ++count_;
  return {};
}

void FlowTable::remove(Flow& flow) {
  Flow** link = &buckets_[flow.hash_ & (bucket_count_ - 1)];
  while (*link != &flow) link = &(*link)->next_;
  *link = flow.next_;
  flow.next_ = nullptr;
  --count_;
}

// Without memory for a bigger table the chains just get longer.
void FlowTable::grow() {
  size_t bigger = bucket_count_ == 0 ? 64 : bucket_count_ * 2;
  std::unique_ptr<Flow*[]> buckets(new (std::nothrow) Flow*[bigger]());
  if (!buckets) return;
  for (size_t i = 0; i < bucket_count_; ++i) {
    for (Flow *flow = buckets_[i], *next; flow != nullptr; flow = next) {
      next = flow->next_;
      Flow*& head = buckets[flow->hash_ & (bigger - 1)];
      flow->next_ = head;
      head = flow;
    }
  }
  buckets_ = std::move(buckets);
  bucket_count_ = bigger;
}

}  // namespace aril::net
