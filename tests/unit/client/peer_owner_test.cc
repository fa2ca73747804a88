// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/peers/owner.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/client/peer_places.h"

namespace mrlease::client::peers {
namespace {
using std::chrono::milliseconds;

struct Wire {
  std::vector<Message> sent;
  int cuts = 0;
  int send_fails = 0;  // errno
  Message last() const { return sent.empty() ? Message{} : sent.back(); }
};

class FakeChannel final : public Channel {
 public:
  explicit FakeChannel(Wire& wire) : wire_(wire) {}
  Outcome send(const Message& message) override {
    if (wire_.send_fails != 0) return {wire_.send_fails, "it is full"};
    wire_.sent.push_back(message);
    return {};
  }
  void cut() override { wire_.cuts++; }

 private:
  Wire& wire_;
};

class PeerOwner : public ::testing::Test {
 protected:
  std::uint64_t add(Wire& wire) { return owner_.add(std::make_unique<FakeChannel>(wire), now_); }
  void offer() { ASSERT_TRUE(owner_.offer(kFile, kPlace, 0, now_).ok()); }
  void recall(int ms = 1000) {
    owner_.hold(kFile, kRecalled, now_, now_ + milliseconds(ms), [this] { done_++; });
  }
  void held(std::uint64_t peer, std::uint64_t recall) { hear(peer, {Kind::kHeld, kFile, recall, {}}); }
  void hear(std::uint64_t peer, const Message& message) { owner_.hear(peer, encode(message), now_); }
  void later(int ms) {
    now_ += milliseconds(ms);
    owner_.overdue(now_);
  }

  Owner::Time now_{};
  Owner owner_;
  Wire first_, second_;
  int done_ = 0;
};

TEST_F(PeerOwner, EveryPeerIsToldOfEveryRegion) {
  add(first_);
  EXPECT_TRUE(first_.sent.empty());
  offer();
  add(second_);
  for (const Wire* wire : {&first_, &second_}) {
    ASSERT_EQ(wire->sent.size(), 1u);
    EXPECT_EQ(wire->last().kind, Kind::kRegion);
    EXPECT_EQ(wire->last().region, kFile);
    EXPECT_EQ(wire->last().place.rkey, 100u);
  }
  EXPECT_EQ(owner_.offer(kFile, kPlace, 0, now_).code, EEXIST);
}

TEST_F(PeerOwner, EveryPeerGetsTheKeyOfItsOwnDomain) {
  Wire third;
  const int domains[2] = {};
  owner_.add(std::make_unique<FakeChannel>(first_), now_, &domains[0]);
  owner_.add(std::make_unique<FakeChannel>(second_), now_, &domains[1]);
  ASSERT_TRUE(owner_.offer(kFile, Reach(kPlace, {{&domains[1], 111}}), 0, now_).ok());
  owner_.add(std::make_unique<FakeChannel>(third), now_, &domains[1]);  // that comes later
  EXPECT_EQ(first_.last().place.rkey, 100u);
  EXPECT_EQ(second_.last().place.rkey, 111u);
  EXPECT_EQ(third.last().place.rkey, 111u);
  owner_.resize(kFile, 4096, now_);
  EXPECT_EQ(second_.last().place.rkey, 111u);
  EXPECT_EQ(second_.last().place.size, 4096u);
  recall();
  owner_.resume(kFile, kRecalled, Reach(kNewPlace, {{&domains[1], 222}}), now_);
  EXPECT_EQ(first_.last().place.rkey, 200u);
  EXPECT_EQ(second_.last().place.rkey, 222u);
}

TEST_F(PeerOwner, ARecallIsDoneWhenTheLastPeerHolds) {
  const auto one = add(first_), two = add(second_);
  offer();
  recall();
  ASSERT_EQ(first_.last().kind, Kind::kRecall);
  held(one, first_.last().recall);
  EXPECT_EQ(done_, 0);
  held(two, second_.last().recall);
  EXPECT_EQ(done_, 1);
  EXPECT_FALSE(owner_.next_deadline());
  owner_.resume(kFile, kRecalled, kNewPlace, now_);
  EXPECT_EQ(first_.last().kind, Kind::kRegion);
  EXPECT_EQ(first_.last().place.rkey, 200u);
  EXPECT_EQ(second_.last().place.size, 8192u);
  EXPECT_EQ(owner_.counts().holds, 1u);
  EXPECT_EQ(owner_.counts().cut, 0u);
}

TEST_F(PeerOwner, WithNobodyToAskARecallIsDoneAtOnce) {
  offer();
  recall();
  EXPECT_EQ(done_, 1);
  // One that comes meanwhile is told when it is over, and not asked before.
  add(first_);
  recall();
  EXPECT_EQ(done_, 2);
  EXPECT_TRUE(first_.sent.empty());
  owner_.resume(kFile, kRecalled, kNewPlace, now_);
  EXPECT_EQ(first_.last().place.rkey, 200u);
}

TEST_F(PeerOwner, WhoNeverAnswersIsCutAtTheDeadline) {
  const auto one = add(first_), two = add(second_);
  offer();
  recall(1000);
  held(one, first_.last().recall);
  later(999);
  EXPECT_EQ(second_.cuts, 0);
  EXPECT_EQ(*owner_.next_deadline(), now_ + milliseconds(1));
  later(1);
  EXPECT_EQ(done_, 1);
  EXPECT_EQ(first_.cuts, 0);
  EXPECT_EQ(second_.cuts, 1);
  EXPECT_EQ(owner_.status(two).code, ETIMEDOUT);
  EXPECT_EQ(owner_.counts().peers, 1u);
  EXPECT_EQ(owner_.counts().hold_max, milliseconds(1000));
  // It is neither asked nor told any more, and its late answer is nothing.
  const auto sent = second_.sent.size();
  held(two, second_.last().recall);
  owner_.resume(kFile, kRecalled, kNewPlace, now_);
  recall();
  EXPECT_EQ(second_.sent.size(), sent);
  EXPECT_EQ(second_.cuts, 1);
}

TEST_F(PeerOwner, WhoDiesOrIsRemovedIsNotWaitedFor) {
  const auto one = add(first_), two = add(second_);
  offer();
  recall();
  owner_.lost(one, {ENOTCONN, "retry exceeded"}, now_);
  EXPECT_EQ(done_, 0);
  EXPECT_EQ(owner_.status(one).code, ENOTCONN);
  EXPECT_NE(owner_.status(one).text.find("retry exceeded"), std::string::npos);
  EXPECT_EQ(first_.cuts, 1) << "who cannot be asked must not post";
  EXPECT_TRUE(owner_.remove(two, now_).ok());
  EXPECT_EQ(done_, 1);
  EXPECT_EQ(owner_.remove(two, now_).code, ENOENT);
}

TEST_F(PeerOwner, WhoLeavesIsNotCut) {
  const auto one = add(first_);
  offer();
  recall();
  hear(one, {Kind::kBye, 0, 0, {}});
  EXPECT_EQ(done_, 1);
  EXPECT_EQ(first_.cuts, 0);
  EXPECT_EQ(owner_.status(one).code, ESHUTDOWN);
}

TEST_F(PeerOwner, WhoLiesIsCutAndNotWaitedFor) {
  const auto lies = [&](auto lie) {
    Owner fresh;
    owner_ = std::move(fresh);
    Wire wire;
    done_ = 0;
    const auto peer = add(wire);
    offer();
    recall();
    lie(peer, wire.last().recall);
    EXPECT_EQ(wire.cuts, 1);
    EXPECT_EQ(done_, 1);
    EXPECT_EQ(owner_.status(peer).code, EPROTO) << owner_.status(peer).text;
  };
  lies([&](auto peer, auto recall) { hear(peer, {Kind::kHeld, kFile + 1, recall, {}}); });  // was not offered that
  lies([&](auto peer, auto recall) { hear(peer, {Kind::kHeld, kFile, recall + 1, {}}); });  // was not asked that
  lies([&](auto peer, auto) { hear(peer, {Kind::kRegion, kFile, 0, kPlace}); });            // not its to say
  lies([&](auto peer, auto) { owner_.hear(peer, std::vector<unsigned char>(64, 0xff), now_); });
  lies([&](auto peer, auto) { owner_.hear(peer, {}, now_); });
}

TEST_F(PeerOwner, OneAnswerForEachQuestionAndNoMore) {
  const auto one = add(first_);
  offer();
  recall();
  const auto recalled = first_.last().recall;
  held(one, recalled);
  EXPECT_EQ(done_, 1);
  held(one, recalled);
  EXPECT_EQ(first_.cuts, 1);
}

// A fence overtook the answer: that is nobody's lie.
TEST_F(PeerOwner, AnAnswerAfterTheRegionHasGoneIsFine) {
  const auto one = add(first_);
  offer();
  recall();
  const auto recalled = first_.last().recall;
  owner_.end(kFile, now_);
  EXPECT_EQ(done_, 1);
  EXPECT_EQ(first_.last().kind, Kind::kGone);
  held(one, recalled);
  EXPECT_TRUE(owner_.status(one).ok());
  owner_.resume(kFile, kRecalled, kNewPlace, now_);
  EXPECT_EQ(first_.last().kind, Kind::kGone) << "a fenced region does not come back";
  owner_.forget(kFile, now_);
  EXPECT_TRUE(owner_.offer(kFile, kNewPlace, 0, now_).ok());
  EXPECT_EQ(first_.last().place.rkey, 200u);
}

TEST_F(PeerOwner, TwoReasonsToHold) {
  const auto one = add(first_);
  offer();
  int extended = 0;
  owner_.hold(kFile, kHeldByOwner, now_, now_ + milliseconds(500), [&] { extended++; });
  recall(1000);
  EXPECT_EQ(first_.sent.size(), 2u) << "asked once";
  held(one, first_.last().recall);
  EXPECT_EQ(done_ + extended, 2);
  owner_.resume(kFile, kRecalled, kNewPlace, now_);
  EXPECT_EQ(first_.sent.size(), 2u) << "still held by the owner";
  owner_.resume(kFile, kHeldByOwner, kNewPlace, now_);
  EXPECT_EQ(first_.last().place.rkey, 200u);
}

TEST_F(PeerOwner, ATrimTellsTheSizeNowOrWithTheNextKeys) {
  const auto one = add(first_);
  offer();
  owner_.resize(kFile, 4096, now_);
  EXPECT_EQ(first_.last().place.size, 4096u);
  EXPECT_EQ(first_.last().place.rkey, 100u);
  recall();
  held(one, first_.last().recall);
  owner_.resize(kFile, 100, now_);
  EXPECT_EQ(first_.last().kind, Kind::kRecall);
}

TEST_F(PeerOwner, WhoTakesNoMessagesIsCut) {
  const auto one = add(first_);
  add(second_);
  first_.send_fails = ENOBUFS;
  offer();
  EXPECT_EQ(first_.cuts, 1);
  EXPECT_EQ(owner_.status(one).code, ENOTCONN);
  second_.send_fails = ENOBUFS;
  recall();
  EXPECT_EQ(second_.cuts, 1);
  EXPECT_EQ(done_, 1);
  Wire third;
  third.send_fails = ENOBUFS;
  owner_.resume(kFile, kRecalled, kNewPlace, now_);
  EXPECT_EQ(owner_.status(add(third)).code, ENOTCONN);
}

}  // namespace
}  // namespace mrlease::client::peers
