#include "net/ip/multicast_group.hpp"

#include <algorithm>
#include <new>

namespace aril::net {
namespace {

/// The array with room for twice as many, or as it is when there is no memory.
template <typename T>
Result<void> grow(std::unique_ptr<T[]>& array, uint32_t count, uint32_t& capacity) {
  uint32_t wanted = std::max<uint32_t>(4, capacity * 2);
  std::unique_ptr<T[]> bigger(new (std::nothrow) T[wanted]);
  if (!bigger) return fail(Errno::kNoMem);
  std::copy_n(array.get(), count, bigger.get());
  array = std::move(bigger);
  capacity = wanted;
  return {};
}

}  // namespace

bool SourceFilter::hears(IpAddress source) const {
  return std::ranges::contains(sources, source) == (mode == FilterMode::kInclude);
}

bool SourceList::contains(IpAddress address) const { return std::ranges::contains(get(), address); }

Result<void> SourceList::add(IpAddress address) {
  if (contains(address)) return {};
  if (count_ == capacity_) ARIL_TRY(grow(addresses_, count_, capacity_));
  addresses_[count_++] = address;
  return {};
}

void SourceList::remove(IpAddress address) {
  IpAddress* end = addresses_.get() + count_;
  count_ = static_cast<uint32_t>(std::remove(addresses_.get(), end, address) - addresses_.get());
}

Result<SourceList> SourceList::copy_of(std::span<const IpAddress> addresses) {
  SourceList list;
  for (IpAddress address : addresses) ARIL_TRY(list.add(address));
  return list;
}

bool MulticastGroup::hears(IpAddress source) const {
  if (!kHasSourceFilters) return mode() == FilterMode::kExclude;
  for (const Source& known : sources())
    if (known.address == source) return hears(known);
  return mode() == FilterMode::kExclude;
}

bool MulticastGroup::hears_any() const {
  if (!kHasSourceFilters) return mode() == FilterMode::kExclude;
  return mode() == FilterMode::kExclude ||
         std::ranges::any_of(sources(), [this](const Source& source) { return hears(source); });
}

MulticastGroup::Source* MulticastGroup::find(IpAddress address) {
  for (Source& source : std::span(sources_.get(), source_count_))
    if (source.address == address) return &source;
  return nullptr;
}

Result<void> MulticastGroup::make_room(const SourceFilter& filter) {
  if (!kHasSourceFilters) return {};
  for (IpAddress address : filter.sources) {
    if (find(address) != nullptr) continue;
    Errno error{};
    if (source_count_ == kMaxSources) {
      error = Errno::kNoBufs;
    } else if (source_count_ == source_capacity_) {
      if (auto grown = grow(sources_, source_count_, source_capacity_); !grown)
        error = grown.error();
    }
    if (error != Errno{}) {
      drop_unused();
      return fail(error);
    }
    sources_[source_count_++] = {.address = address};
  }
  return {};
}

void MulticastGroup::count(const SourceFilter& filter, uint32_t by) {
  users_ += by;
  bool excludes = filter.mode == FilterMode::kExclude;
  if (excludes) excluders_ += by;
  if (!kHasSourceFilters) return;
  for (IpAddress address : filter.sources) {
    Source* source = find(address);
    (excludes ? source->excluders : source->includers) += by;
  }
}

void MulticastGroup::drop_unused() {
  if (!kHasSourceFilters) return;
  auto is_unused = [](const Source& source) {
    return source.includers == 0 && source.excluders == 0 && source.reports_left == 0;
  };
  Source* end = sources_.get() + source_count_;
  source_count_ =
      static_cast<uint32_t>(std::remove_if(sources_.get(), end, is_unused) - sources_.get());
}

Result<MulticastGroup::Change> MulticastGroup::change(const SourceFilter* from,
                                                      const SourceFilter* to, uint8_t robustness) {
  if (to != nullptr) ARIL_TRY(make_room(*to));
  FilterMode before = mode();
  std::span<Source> all(sources_.get(), kHasSourceFilters ? source_count_ : 0);
  for (Source& source : all) source.was_heard = hears(source);
  if (from != nullptr) count(*from, ~uint32_t{0});
  if (to != nullptr) count(*to, 1);
  Change change = Change::kNone;
  if (mode() != before) {
    mode_reports_left_ = robustness;
    change = Change::kOfMerge;
  } else {
    for (Source& source : all) {
      if (source.was_heard == hears(source)) continue;
      source.reports_left = robustness;
      change = Change::kOfMerge;
    }
  }
  drop_unused();
  return change;
}

Result<MulticastGroup::Change> MulticastGroup::change_plain(const SourceFilter* from,
                                                            const SourceFilter* to,
                                                            uint8_t robustness) {
  bool before = hears_any();
  uint8_t left = mode_reports_left_;
  ARIL_TRY(change(from, to, 0));
  bool is_new = hears_any() != before;
  mode_reports_left_ = is_new ? robustness : left;
  return is_new ? Change::kOfMerge : Change::kNone;
}

bool MulticastGroup::has_changes() const {
  if (!kHasSourceFilters) return has_new_mode();
  return has_new_mode() || std::ranges::any_of(sources(), [](const Source& source) {
           return source.reports_left != 0;
         });
}

void MulticastGroup::changes_reported() {
  if (mode_reports_left_ != 0) --mode_reports_left_;
  if (!kHasSourceFilters) return;
  for (Source& source : std::span(sources_.get(), source_count_))
    if (source.reports_left != 0) --source.reports_left;
  drop_unused();
}

void MulticastGroup::forget_changes() {
  mode_reports_left_ = 0;
  if (!kHasSourceFilters) return;
  for (Source& source : std::span(sources_.get(), source_count_)) source.reports_left = 0;
  drop_unused();
}

void MulticastGroup::ask(Instant at) {
  asked_.clear();
  answer_at_ = std::min(answer_at_, at);
}

// [RFC 3376] 5.2: who waits for everything already waits for these too.
void MulticastGroup::ask_about(std::span<const IpAddress> sources, Instant at) {
  bool whole_is_pending = answer_at_ != Instant::never() && asked_.empty();
  if (sources.empty() || whole_is_pending) return ask(at);
  for (IpAddress source : sources)
    if (asked_.get().size() == kMaxSources || !asked_.add(source)) return ask(at);
  answer_at_ = std::min(answer_at_, at);
}

}  // namespace aril::net
