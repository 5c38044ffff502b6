#include "linux/files/file_table.hpp"

#include <gtest/gtest.h>

#include "linux/files/record_locks.hpp"

namespace aril::linux_abi {
namespace {

class FakeFile final : public File {
 public:
  explicit FakeFile(uint64_t inode, int* destroyed = nullptr)
      : File(OpenFlags::kReadWrite), inode_(inode), destroyed_(destroyed) {}
  ~FakeFile() override {
    if (destroyed_ != nullptr) ++*destroyed_;
  }
  Result<FileStatus> status() override { return FileStatus{.device = 1, .inode = inode_}; }
  void flush() override { ++flushes; }
  int flushes = 0;

 private:
  uint64_t inode_;
  int* destroyed_;
};

RefPtr<File> file(uint64_t inode = 1, int* destroyed = nullptr) {
  return adopt_ref<File>(new FakeFile(inode, destroyed));
}

TEST(FileTable, InstallsAtTheLowestFreeNumber) {
  auto table = *FileTable::create();
  EXPECT_EQ(table->install(file(), CloseOnExec::kNo), 0);
  EXPECT_EQ(table->install(file(), CloseOnExec::kNo), 1);
  EXPECT_EQ(table->install(file(), CloseOnExec::kNo), 2);
  EXPECT_TRUE(table->close(1));
  EXPECT_EQ(table->install(file(), CloseOnExec::kYes), 1);
  EXPECT_EQ(table->install(file(), CloseOnExec::kNo), 3);
  EXPECT_EQ(*table->close_on_exec(1), CloseOnExec::kYes);
  EXPECT_EQ(table->install(file(), CloseOnExec::kNo, 10), 10);
  EXPECT_EQ(table->install(file(), CloseOnExec::kNo), 4);
}

TEST(FileTable, RespectsTheLimit) {
  auto table = *FileTable::create();
  table->set_limit(2);
  EXPECT_EQ(table->install(file(), CloseOnExec::kNo), 0);
  EXPECT_EQ(table->install(file(), CloseOnExec::kNo), 1);
  EXPECT_EQ(table->install(file(), CloseOnExec::kNo).error(), Errno::kMFile);
  EXPECT_EQ(table->install_at(5, file(), CloseOnExec::kNo).error(), Errno::kBadF);
}

TEST(FileTable, ReleasesWhatItCloses) {
  int destroyed = 0;
  auto table = *FileTable::create();
  EXPECT_EQ(table->install(file(1, &destroyed), CloseOnExec::kNo), 0);
  EXPECT_EQ(table->install_at(0, file(2, &destroyed), CloseOnExec::kYes), 0);
  EXPECT_EQ(destroyed, 1);
  EXPECT_EQ(table->install_at(200, *table->get(0), CloseOnExec::kNo), 200);
  table->close_all_on_exec();
  EXPECT_EQ(table->open_numbers(), std::vector<int>{200});
  auto copy = *table->clone();
  table->close_all();
  EXPECT_EQ(destroyed, 1);
  copy.reset();
  EXPECT_EQ(destroyed, 2);
}

TEST(FileTable, ClosesRanges) {
  auto table = *FileTable::create();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(table->install(file(), CloseOnExec::kNo), i);
  table->close_range(2, 3, FileTable::RangeAction::kClose);
  table->close_range(4, ~0u, FileTable::RangeAction::kMarkCloseOnExec);
  EXPECT_EQ(table->open_numbers(), (std::vector<int>{0, 1, 4, 5}));
  EXPECT_EQ(*table->close_on_exec(5), CloseOnExec::kYes);
  EXPECT_EQ(table->get(2).error(), Errno::kBadF);
  EXPECT_EQ(table->get(-1).error(), Errno::kBadF);
}

using namespace record_locks;

TEST(RecordLocks, SplitAndMerge) {
  auto f = file(7);
  int a = 0, b = 0;
  Conflict conflict;
  ASSERT_TRUE(acquire(*f, Family::kRecord, &a, 1, Kind::kWrite, {0, 100}, Waiting::kNo));
  EXPECT_EQ(acquire(*f, Family::kRecord, &b, 2, Kind::kRead, {50, 60}, Waiting::kNo).error(),
            Errno::kAgain);
  ASSERT_TRUE(unlock(*f, Family::kRecord, &a, {40, 60}));
  ASSERT_TRUE(acquire(*f, Family::kRecord, &b, 2, Kind::kWrite, {40, 60}, Waiting::kNo));
  EXPECT_TRUE(*find_conflict(*f, Family::kRecord, &b, Kind::kRead, {0, 10}, conflict));
  EXPECT_EQ(conflict.range.end, 40u);
  EXPECT_EQ(conflict.pid, 1);
  EXPECT_TRUE(*find_conflict(*f, Family::kRecord, &b, Kind::kRead, {60, 61}, conflict));
  EXPECT_EQ(conflict.range.start, 60u);
  ASSERT_TRUE(unlock(*f, Family::kRecord, &b, {}));
  ASSERT_TRUE(acquire(*f, Family::kRecord, &a, 1, Kind::kWrite, {40, 60}, Waiting::kNo));
  EXPECT_TRUE(*find_conflict(*f, Family::kRecord, &b, Kind::kRead, {50, 51}, conflict));
  EXPECT_EQ(conflict.range.start, 0u);
  EXPECT_EQ(conflict.range.end, 100u);
  release(*f, &a);
  EXPECT_FALSE(*find_conflict(*f, Family::kRecord, &b, Kind::kWrite, {}, conflict));
}

TEST(RecordLocks, FlockEndsWithTheDescription) {
  auto first = file(9);
  auto second = file(9);
  ASSERT_TRUE(acquire(*first, Family::kFlock, first.get(), 1, Kind::kWrite, {}, Waiting::kNo));
  EXPECT_EQ(
      acquire(*second, Family::kFlock, second.get(), 1, Kind::kRead, {}, Waiting::kNo).error(),
      Errno::kAgain);
  first.reset();
  ASSERT_TRUE(acquire(*second, Family::kFlock, second.get(), 1, Kind::kRead, {}, Waiting::kNo));
}

}  // namespace
}  // namespace aril::linux_abi
