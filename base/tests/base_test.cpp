#include <gtest/gtest.h>

#include "base/endian.hpp"
#include "base/intrusive_list.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "base/units.hpp"

namespace aril {
namespace {

TEST(Endian, StoresBytesInItsOrder) {
  Be<uint32_t> value = 0x01020304;
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  EXPECT_EQ(bytes[0], 1);
  EXPECT_EQ(bytes[3], 4);
  EXPECT_EQ(value.get(), 0x01020304u);
}

TEST(Time, SaturatesInsteadOfWrapping) {
  EXPECT_EQ(Instant::never() + Duration::seconds(1), Instant::never());
  EXPECT_EQ(Duration::seconds(std::numeric_limits<int64_t>::max()), Duration::infinite());
  EXPECT_LT(Instant{0} - Duration::infinite(), Instant{0});
}

TEST(Units, AlignsToPowersOfTwo) {
  EXPECT_EQ(align_up(uint64_t{1}, kPageSize), kPageSize);
  EXPECT_EQ(align_up(uint64_t{4096}, kPageSize), kPageSize);
  EXPECT_EQ(align_down(uint64_t{8191}, kPageSize), kPageSize);
}

struct Item {
  int value;
  ListNode node;
};

TEST(IntrusiveList, KeepsOrderAndFindsOwners) {
  Item a{1, {}}, b{2, {}}, c{3, {}};
  IntrusiveList<Item, &Item::node> list;
  list.push_back(b);
  list.push_back(c);
  list.push_front(a);
  int expected = 1;
  for (Item& item : list) EXPECT_EQ(item.value, expected++);
  list.remove(b);
  EXPECT_EQ(list.count(), 2u);
  EXPECT_EQ(list.pop_front(), &a);
  EXPECT_EQ(list.pop_front(), &c);
  EXPECT_EQ(list.pop_front(), nullptr);
}

struct Counted : RefCounted {
  explicit Counted(int& deaths) : deaths(deaths) {}
  ~Counted() { ++deaths; }
  int& deaths;
};

TEST(RefPtr, DeletesWithTheLastReference) {
  int deaths = 0;
  {
    auto first = try_make_ref<Counted>(deaths).value();
    RefPtr<Counted> second = first;
    first.reset();
    EXPECT_EQ(deaths, 0);
    EXPECT_EQ(second->ref_count(), 1u);
  }
  EXPECT_EQ(deaths, 1);
}

Result<int> half(int value) {
  if (value % 2 != 0) return fail(Errno::kInval);
  return value / 2;
}
Result<int> quarter(int value) { return ARIL_TRY(half(ARIL_TRY(half(value)))); }

TEST(Result, TryReturnsTheFirstError) {
  EXPECT_EQ(quarter(8).value(), 2);
  EXPECT_EQ(quarter(6).error(), Errno::kInval);
}

}  // namespace
}  // namespace aril
