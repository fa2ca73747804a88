// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/protocol/frames.h"

#include <gtest/gtest.h>

namespace mrlease::client::protocol {
namespace {

TEST(Frames, MergesJoinNeighboursAndKeepTheLimit) {
  std::vector<FileRange> ranges;
  for (std::uint64_t i = 0; i < 3 * wire::kRangesMax; i++) ranges.push_back({i * 8192, 4096});
  ranges.push_back({ranges.back().offset + 4096, 4096});  // a neighbour of the last
  const auto frames = merges(5, 6, ranges);
  ASSERT_EQ(frames.size(), 3u);
  std::uint64_t bytes = 0;
  for (const Frame& f : frames) {
    EXPECT_EQ(f.merge().lease(), 5u);
    EXPECT_EQ(f.merge().store(), 6u);
    EXPECT_LE(f.merge().ranges_size(), static_cast<int>(wire::kRangesMax));
    EXPECT_FALSE(wire::encode(f).empty()) << "larger than a packet";
    for (const auto& r : f.merge().ranges()) bytes += r.length();
  }
  EXPECT_EQ(bytes, (3 * wire::kRangesMax + 1) * 4096);
  const auto& last = frames.back().merge().ranges(static_cast<int>(wire::kRangesMax) - 1);
  EXPECT_EQ(last.length(), 8192u);
}

TEST(Frames, NoRangesNoFrames) { EXPECT_TRUE(merges(1, 1, {{4096, 0}}).empty()); }

TEST(Frames, OrphansGoAlongWithEachMerge) {
  std::vector<FileRange> ranges;
  for (std::uint64_t i = 0; i < wire::kRangesMax + 1; i++) ranges.push_back({i * 8192, 4096});
  const auto frames = of_orphans(merges(1, 7, ranges), 4096);
  ASSERT_EQ(frames.size(), 2u);
  for (const Frame& f : frames) {
    EXPECT_TRUE(f.merge().orphans());
    EXPECT_EQ(f.merge().begin(), 4096u);
    EXPECT_EQ(wire::fds_expected(f).min, 1u);
  }
}

TEST(Frames, EveryRequestSurvivesTheWire) {
  const Frame frames[] = {hello("p"),
                          add_device("rxe0", 14),
                          add_userfaultfd(),
                          register_lease({{4096, 8192}, true, wire::v1::BACKING_BOUNCE, true, true, 200}),
                          add_mr(1, {2, 3, 4, 5, 6, 7}),
                          remove_mr(1, 2, 3),
                          release(1),
                          extend(1),
                          recall_done(9, {EIO, "no"}),
                          sync_file({0, 1}),
                          freeze_file({0, 1}, 5),
                          thaw_file(3)};
  for (const Frame& f : frames) {
    Frame back;
    std::string error;
    EXPECT_TRUE(wire::decode(wire::encode(f), wire::fds_expected(f).min, &back, &error)) << error;
    EXPECT_EQ(back.body_case(), f.body_case());
  }
}

TEST(Frames, ExpectTakesTheStatusOfTheDaemon) {
  Frame reply;
  reply.mutable_status()->set_code(EBUSY);
  reply.mutable_status()->set_message("overlaps");
  EXPECT_EQ(expect(reply, Frame::kGranted).code, EBUSY);
  EXPECT_EQ(expect(reply, Frame::kGranted).text, "overlaps");
  reply.mutable_status()->set_code(0);
  EXPECT_EQ(expect(reply, Frame::kGranted).code, EPROTO);
  EXPECT_TRUE(expect(reply, Frame::kStatus).ok());
  reply.mutable_status()->set_code(-5);
  EXPECT_EQ(expect(reply, Frame::kStatus).code, EPROTO);
  reply.mutable_status()->set_code(70000);
  EXPECT_EQ(expect(reply, Frame::kStatus).code, EPROTO);
}

TEST(Frames, RecallsAreChecked) {
  wire::v1::Recall r;
  EXPECT_EQ(check_recall(r).code, EOPNOTSUPP);
  r.set_action(static_cast<wire::v1::Action>(99));
  EXPECT_EQ(check_recall(r).code, EOPNOTSUPP);
  r.set_action(wire::v1::ACTION_FREEZE);
  r.set_offset(~0ull);
  r.set_length(2);
  EXPECT_EQ(check_recall(r).code, EINVAL);
  r.set_offset(4096);
  EXPECT_TRUE(check_recall(r).ok());
}

}  // namespace
}  // namespace mrlease::client::protocol
