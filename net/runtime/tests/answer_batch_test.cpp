#include "../src/answer_batch.hpp"

#include <gtest/gtest.h>

namespace aril::net {
namespace {

constexpr Instant kStart{1'000'000};

TEST(AnswerBatch, IsDueAtOnceWhenNothingWasReceived) {
  AnswerBatch batch;
  EXPECT_FALSE(batch.is_due(kStart));
  batch.add(60, kStart);
  EXPECT_TRUE(batch.is_due(kStart));
  batch.clear();
  EXPECT_FALSE(batch.is_due(kStart));
  EXPECT_TRUE(batch.is_empty());
}

TEST(AnswerBatch, ASingleRequestIsAnsweredAtOnce) {
  AnswerBatch batch;
  batch.expect(1, kStart);
  batch.add(60, kStart);
  EXPECT_TRUE(batch.is_due(kStart));
}

TEST(AnswerBatch, WaitsForAsManyAnswersAsThereWereFrames) {
  AnswerBatch batch;
  batch.expect(3, kStart);
  batch.add(60, kStart);
  EXPECT_FALSE(batch.is_due(kStart));
  batch.add(60, kStart);
  EXPECT_FALSE(batch.is_due(kStart));
  batch.add(60, kStart);
  EXPECT_TRUE(batch.is_due(kStart));
  batch.clear();
  batch.add(60, kStart);  // nobody knows of a further one
  EXPECT_TRUE(batch.is_due(kStart));
}

TEST(AnswerBatch, IsBounded) {
  AnswerBatch batch;
  batch.expect(1000, kStart);
  for (unsigned i = 1; i < AnswerBatch::kMaxFrames; ++i) {
    batch.add(60, kStart);
    EXPECT_FALSE(batch.is_due(kStart));
  }
  batch.add(60, kStart);
  EXPECT_TRUE(batch.is_due(kStart));
  batch.clear();

  batch.expect(1000, kStart);
  batch.add(AnswerBatch::kMaxBytes - 1, kStart);
  EXPECT_FALSE(batch.is_due(kStart));
  batch.add(1, kStart);
  EXPECT_TRUE(batch.is_due(kStart));
}

TEST(AnswerBatch, DoesNotWaitForSlowPrograms) {
  AnswerBatch batch;
  batch.expect(8, kStart);
  Instant late = kStart + AnswerBatch::kPatience;
  EXPECT_FALSE(batch.is_due(late)) << "nothing is queued";
  batch.add(60, late);
  EXPECT_TRUE(batch.is_due(late)) << "this one took long";
  batch.clear();

  batch.expect(8, kStart);
  batch.add(60, kStart);
  EXPECT_FALSE(batch.is_due(kStart));
  EXPECT_TRUE(batch.is_due(late)) << "the next one does";
}

TEST(AnswerBatch, NothingWaitsOnceTheReceiverRuns) {
  AnswerBatch batch;
  batch.expect(8, kStart);
  batch.add(60, kStart);
  EXPECT_FALSE(batch.is_due(kStart));
  batch.expect_no_more();
  EXPECT_TRUE(batch.is_due(kStart));
}

}  // namespace
}  // namespace aril::net
