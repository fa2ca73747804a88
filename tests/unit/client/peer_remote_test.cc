// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/peers/remote.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/client/peer_places.h"

namespace mrlease::client::peers {
namespace {

class PeerRemote : public ::testing::Test {
 protected:
  Outcome hear(const Message& message) {
    answer_.reset();
    return remote_.hear(encode(message), &answer_);
  }
  Outcome leave() {
    answer_.reset();
    return remote_.leave(kFile, &answer_);
  }
  Remote remote_;
  std::optional<Message> answer_;
  Place place_;
};

TEST_F(PeerRemote, EntersWhatIsOffered) {
  EXPECT_EQ(remote_.enter(kFile, &place_).code, EAGAIN);
  ASSERT_TRUE(hear({Kind::kRegion, kFile, 0, kPlace}).ok());
  ASSERT_TRUE(remote_.enter(kFile, &place_).ok());
  EXPECT_EQ(place_.rkey, 100u);
  EXPECT_TRUE(leave().ok());
  EXPECT_EQ(leave().code, EINVAL);
  EXPECT_FALSE(answer_);
}

TEST_F(PeerRemote, HoldsAtOnceWhenNobodyIsInside) {
  ASSERT_TRUE(hear({Kind::kRegion, kFile, 0, kPlace}).ok());
  ASSERT_TRUE(hear({Kind::kRecall, kFile, 5, {}}).ok());
  ASSERT_TRUE(answer_);
  EXPECT_EQ(answer_->kind, Kind::kHeld);
  EXPECT_EQ(answer_->region, kFile);
  EXPECT_EQ(answer_->recall, 5u);
  EXPECT_EQ(remote_.enter(kFile, &place_).code, EAGAIN);
  ASSERT_TRUE(hear({Kind::kRegion, kFile, 0, kNewPlace}).ok());
  ASSERT_TRUE(remote_.enter(kFile, &place_).ok());
  EXPECT_EQ(place_.rkey, 200u);
}

TEST_F(PeerRemote, HoldsWhenTheLastHasLeft) {
  ASSERT_TRUE(hear({Kind::kRegion, kFile, 0, kPlace}).ok());
  ASSERT_TRUE(remote_.enter(kFile, &place_).ok());
  ASSERT_TRUE(remote_.enter(kFile, &place_).ok());
  ASSERT_TRUE(hear({Kind::kRecall, kFile, 5, {}}).ok());
  EXPECT_FALSE(answer_);
  EXPECT_EQ(remote_.enter(kFile, &place_).code, EAGAIN);
  EXPECT_TRUE(leave().ok());
  EXPECT_FALSE(answer_);
  EXPECT_TRUE(leave().ok());
  ASSERT_TRUE(answer_);
  EXPECT_EQ(answer_->recall, 5u);
}

TEST_F(PeerRemote, OtherRegionsGoOn) {
  ASSERT_TRUE(hear({Kind::kRegion, kFile, 0, kPlace}).ok());
  ASSERT_TRUE(hear({Kind::kRegion, kFile + 1, 0, kNewPlace}).ok());
  ASSERT_TRUE(hear({Kind::kRecall, kFile, 5, {}}).ok());
  EXPECT_TRUE(remote_.enter(kFile + 1, &place_).ok());
}

TEST_F(PeerRemote, WhatIsGoneMayComeAgain) {
  ASSERT_TRUE(hear({Kind::kGone, kFile, 0, {}}).ok()) << "was held when this peer came";
  ASSERT_TRUE(hear({Kind::kRegion, kFile, 0, kPlace}).ok());
  ASSERT_TRUE(hear({Kind::kGone, kFile, 0, {}}).ok());
  EXPECT_EQ(remote_.enter(kFile, &place_).code, EKEYREVOKED);
  ASSERT_TRUE(hear({Kind::kRegion, kFile, 0, kNewPlace}).ok());
  EXPECT_TRUE(remote_.enter(kFile, &place_).ok());
}

TEST_F(PeerRemote, AnOwnerThatLiesIsNamed) {
  EXPECT_EQ(hear({Kind::kRecall, kFile, 5, {}}).text, "the owner recalled region 7, which it has not offered");
  ASSERT_TRUE(hear({Kind::kRegion, kFile, 0, kPlace}).ok());
  EXPECT_EQ(hear({Kind::kRecall, kFile, 0, {}}).code, EPROTO);
  EXPECT_EQ(hear({Kind::kHeld, kFile, 5, {}}).text, "the owner sent what a peer says");
  EXPECT_EQ(hear({Kind::kBye, 0, 0, {}}).code, EPROTO);
  const std::vector<unsigned char> garbage(64, 0x55);
  EXPECT_EQ(remote_.hear(garbage, &answer_).text, "the owner sent a message that is none of mrlease's");
}

TEST_F(PeerRemote, AnOwnerCannotFillTheMemory) {
  for (std::uint64_t region = 0; region < Remote::kRegionsMax; region++) {
    ASSERT_TRUE(hear({Kind::kRegion, region, 0, kPlace}).ok());
  }
  EXPECT_EQ(hear({Kind::kRegion, Remote::kRegionsMax, 0, kPlace}).code, EPROTO);
  EXPECT_TRUE(hear({Kind::kRegion, 1, 0, kNewPlace}).ok());
}

TEST_F(PeerRemote, AfterTheEndNobodyEnters) {
  ASSERT_TRUE(hear({Kind::kRegion, kFile, 0, kPlace}).ok());
  ASSERT_TRUE(remote_.enter(kFile, &place_).ok());
  remote_.end({ENOTCONN, "it is over"});
  remote_.end({EPROTO, "later"});
  EXPECT_EQ(remote_.enter(kFile, &place_).code, ENOTCONN);
  EXPECT_TRUE(leave().ok());
}

}  // namespace
}  // namespace mrlease::client::peers
