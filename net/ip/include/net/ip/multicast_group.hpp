#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.hpp"
#include "base/time.hpp"
#include "net/wire/address.hpp"

namespace aril::net {

/// Tiny kernels hear every source of a group.
#ifdef ARIL_TINY
inline constexpr bool kHasSourceFilters = false;
#else
inline constexpr bool kHasSourceFilters = true;
#endif

/// MCAST_EXCLUDE and MCAST_INCLUDE.
enum class FilterMode : uint8_t { kExclude = 0, kInclude = 1 };

/// Which senders a member of a group hears [RFC 3376] 2: only `sources`, or all but these.
struct SourceFilter {
  FilterMode mode = FilterMode::kExclude;
  std::span<const IpAddress> sources = {};

  [[nodiscard]] bool hears(IpAddress source) const;
};

/// A set of addresses that grows without panic.
class SourceList {
 public:
  [[nodiscard]] std::span<const IpAddress> get() const { return {addresses_.get(), count_}; }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] bool contains(IpAddress address) const;
  /// What is there already stays alone. kNoMem: nothing changed.
  Result<void> add(IpAddress address);
  void remove(IpAddress address);
  void clear() { count_ = 0; }
  /// kNoMem.
  static Result<SourceList> copy_of(std::span<const IpAddress> addresses);

 private:
  std::unique_ptr<IpAddress[]> addresses_;
  uint32_t count_ = 0, capacity_ = 0;
};

/// A group that a link's members have joined: the merge of their filters [RFC 3376] 3.2, and what
/// routers have still to be told of its changes (5.1) and asked about it (5.2). It is kept when
/// nobody is a member any more until they have been told that too. The reports are IpLayer's.
class MulticastGroup {
 public:
  /// Of all members' filters together; more fails with kNoBufs.
  static constexpr size_t kMaxSources = 64;

  /// What one of the members named.
  struct Source {
    IpAddress address;
    uint32_t includers = 0, excluders = 0;
    uint8_t reports_left = 0;  ///< to tell that we began, or ceased, to hear it
    bool was_heard = false;
  };

  MulticastGroup() = default;
  explicit MulticastGroup(IpAddress address) : address_(address) {}

  [[nodiscard]] IpAddress address() const { return address_; }
  [[nodiscard]] uint32_t users() const { return users_; }
  [[nodiscard]] FilterMode mode() const {
    return excluders_ != 0 ? FilterMode::kExclude : FilterMode::kInclude;
  }
  [[nodiscard]] bool hears(IpAddress source) const;
  [[nodiscard]] bool hears(const Source& source) const {
    bool all_refuse = source.includers == 0 && source.excluders == excluders_;
    return mode() == FilterMode::kExclude ? !all_refuse : source.includers != 0;
  }
  /// In the list that the merged filter has beside its mode.
  [[nodiscard]] bool is_listed(const Source& source) const {
    return hears(source) == (mode() == FilterMode::kInclude);
  }
  [[nodiscard]] std::span<const Source> sources() const { return {sources_.get(), source_count_}; }
  /// Somebody is heard: all that routers of the protocols' older versions are told.
  [[nodiscard]] bool hears_any() const;

  /// Of one member's filter alone, or of what they want together.
  enum class Change : uint8_t { kNone, kOfMerge };
  /// A member goes from one filter to another; null: it was none, or is none any more. What has
  /// changed for routers is then to be reported `robustness` times. kNoMem, kNoBufs: nothing
  /// changed.
  Result<Change> change(const SourceFilter* from, const SourceFilter* to, uint8_t robustness);
  /// The same, for routers that know no sources: only whether somebody is heard counts.
  Result<Change> change_plain(const SourceFilter* from, const SourceFilter* to, uint8_t robustness);

  [[nodiscard]] bool has_changes() const;
  /// The mode itself has changed: the record has the whole list.
  [[nodiscard]] bool has_new_mode() const { return mode_reports_left_ != 0; }
  /// One report of the changes has left.
  void changes_reported();
  void forget_changes();
  [[nodiscard]] bool is_over() const { return users_ == 0 && !has_changes(); }

  /// A querier wants to know by `at`: of `source`, or, when it is null, everything.
  void ask(Instant at);
  void ask_about(std::span<const IpAddress> sources, Instant at);
  [[nodiscard]] Instant answer_at() const { return answer_at_; }
  /// What it asked about; empty: everything.
  [[nodiscard]] std::span<const IpAddress> asked() const { return asked_.get(); }
  void answered() {
    answer_at_ = Instant::never();
    asked_.clear();
  }

 private:
  Source* find(IpAddress address);
  Result<void> make_room(const SourceFilter& filter);
  void count(const SourceFilter& filter, uint32_t by);
  void drop_unused();

  IpAddress address_;
  uint32_t users_ = 0, excluders_ = 0;
  uint8_t mode_reports_left_ = 0;
  uint32_t source_count_ = 0, source_capacity_ = 0;
  std::unique_ptr<Source[]> sources_;
  Instant answer_at_ = Instant::never();
  SourceList asked_;
};

}  // namespace aril::net
