// SPDX-License-Identifier: Apache-2.0
// A region whose daemon goes, or is replaced by a successor.
#include <thread>

#include "tests/unit/client/region_fixture.h"

namespace mrlease::client {
namespace {

TEST_F(RegionTest, RevokedByRelease) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_BOUNCE).ok());
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_RELEASE)), 0);
  EXPECT_EQ(count(MRL_EVENT_RECALL), 1u);
  EXPECT_EQ(FakeDevice::live, 0);
  wait_for(MRL_EVENT_FENCED);
  EXPECT_TRUE(region_->dereg().ok());
  region_.reset();
}

// The daemon was replaced before it had read the answer: its successor knows of no such recall, and would keep the lease for ever.
TEST_F(RegionTest, WhoHasObeyedAReleaseTellsASuccessor) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_BOUNCE).ok());
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_RELEASE)), 0);
  EXPECT_EQ(daemon_->count(Frame::kRelease), 0) << "the daemon that asked has the answer";
  Frame resume;
  resume.mutable_resume();
  daemon_->send(resume);
  EXPECT_TRUE(daemon_->wait_for(Frame::kRelease, 1));
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_RELEASE)), 0) << "a successor that asks again is not refused";
  EXPECT_TRUE(region_->dereg().ok());
  region_.reset();
}

TEST_F(RegionTest, WhoObeysAReleaseWhileTheDaemonIsReplacedTellsTheSuccessor) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_BOUNCE).ok());
  daemon_->script([](ScriptedDaemon& d, const Frame& f) {
    if (!f.has_remove_mr()) return false;
    Frame resume;
    resume.mutable_resume();
    d.send(resume);
    d.reply_status(f, 0);
    return true;
  });
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_RELEASE)), 0);
  EXPECT_TRUE(daemon_->wait_for(Frame::kRelease, 1));
  EXPECT_TRUE(region_->dereg().ok());
  region_.reset();
}

// Without a daemon: deregistered at once; what is frozen goes into the file from here.
TEST_F(RegionTest, DisconnectedThawsByItself) {
  if (!connect(true)) GTEST_SKIP() << context_->userfaultfd_reason();
  ASSERT_TRUE(reg(MRL_BACKING_ODP, true).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_FREEZE, 5)), 0);
  at(2) = 'w';
  daemon_->hang_up();
  wait_for(MRL_EVENT_DISCONNECTED);
  EXPECT_TRUE(region_->sync(kOffset, 0).ok());
  EXPECT_EQ(in_file(2), 'w');
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(FakeDevice::live, 0);
  region_.reset();
}

TEST_F(RegionTest, DisconnectedBounceIsWrittenAtDereg) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_BOUNCE).ok());
  std::memset(region_->address(), 'z', kLength);
  daemon_->hang_up();
  wait_for(MRL_EVENT_DISCONNECTED);
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(in_file(7), 'z');
  region_.reset();
}

// What was asked for just before the daemon was replaced is asked for again by its successor, whose time begins then.
TEST_F(RegionTest, AnOrderThatASuccessorWillRepeatHasItsTimeAnew) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  ASSERT_EQ(region_->guard().enter(), 0);
  const std::uint64_t first = daemon_->send_recall(recall(wire::v1::ACTION_QUIESCE));
  EXPECT_EQ(wait_for(MRL_EVENT_RECALL).recall, first);
  auto behind = recall(wire::v1::ACTION_QUIESCE);
  behind.set_deadline_ms(1000);
  const std::uint64_t second = daemon_->send_recall(behind);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // the deadline itself, not a wait for anything
  Frame resume;
  resume.mutable_resume();
  daemon_->send(resume);
  EXPECT_TRUE(daemon_->wait_for(Frame::kResumed, 1));
  region_->guard().leave();
  EXPECT_EQ(daemon_->wait_done(first), 0);
  EXPECT_EQ(daemon_->wait_done(second), 0);
}

}  // namespace
}  // namespace mrlease::client
