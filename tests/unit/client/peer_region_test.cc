// SPDX-License-Identifier: Apache-2.0
// A direct region, recalled by a scripted daemon, and its remote peer: the C functions from end to end.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client-lib/src/api/handles.h"
#include "mrlease/peers.h"
#include "tests/unit/client/fake_link.h"
#include "tests/unit/client/scripted_daemon.h"

namespace mrlease::client {
namespace {

constexpr std::uint64_t kBytes = 16 * kPage, kFile = 7;
constexpr std::uint32_t kLongMs = 20000;

class PeerRegion : public ::testing::Test {
 protected:
  void SetUp() override {
    FakeEnd::connect(near_, far_);
    file_ = wire::Fd(::memfd_create("file", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file_.get(), kBytes), 0);
    ASSERT_EQ(mrl_peers_create(&peers_), 0);
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    daemon_ = std::make_unique<ScriptedDaemon>(wire::Fd(pair[1]));
    Context::Options options;
    options.callback = [](const mrl_event* event, void* peers) { return mrl_peers_event(static_cast<mrl_peers*>(peers), event); };
    options.user = peers_;
    ASSERT_TRUE(Context::open(wire::Fd(pair[0]), options, &context_).ok());
    RegionSpec spec;
    spec.pd = &device_.pd;
    spec.file = wire::Fd(::dup(file_.get()));
    spec.length = kBytes;
    spec.access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
    spec.write = true;
    spec.choice = {MRL_BACKING_DIRECT, false, "asked for"};
    ASSERT_TRUE(Region::create(*context_, std::move(spec), &region_, &region_.impl).ok());
    ibv_qp* const data = &data_.qp;
    ASSERT_EQ(mrl_peers_add(peers_, &near_.qp, &data, 1, &number_), 0) << mrl_last_error();
    ASSERT_EQ(mrl_peer_create(&far_.qp, &peer_), 0) << mrl_last_error();
    ASSERT_EQ(mrl_peers_offer(peers_, &region_, kFile), 0) << mrl_last_error();
    target_.struct_size = sizeof target_;
  }
  void TearDown() override {
    if (peer_ != nullptr) mrl_peer_destroy(peer_);
    EXPECT_EQ(mrl_peers_withdraw(peers_, &region_, kLongMs), 0) << mrl_last_error();
    (void)region_.impl->dereg();
    region_.impl.reset();
    context_.reset();
    mrl_peers_destroy(peers_);
  }
  int enter(std::uint32_t timeout_ms = kLongMs) { return mrl_peer_enter(peer_, kFile, &target_, timeout_ms); }
  int leave() { return mrl_peer_leave(peer_, kFile); }
  wire::v1::Recall recall(wire::v1::Action action, std::uint32_t deadline_ms = kLongMs) {
    wire::v1::Recall r;
    r.set_lease(1);
    r.set_action(action);
    r.set_length(kBytes);
    r.set_size(kBytes / 2);
    r.set_deadline_ms(deadline_ms);
    return r;
  }
  void until_held() {
    while (enter(0) == 0) leave();
  }

  FakeDevice device_;
  FakeEnd near_{device_}, far_{device_}, data_{device_};
  wire::Fd file_;
  mrl_peers* peers_ = nullptr;
  mrl_peer* peer_ = nullptr;
  std::uint64_t number_ = 0;
  std::unique_ptr<ScriptedDaemon> daemon_;
  std::unique_ptr<Context> context_;
  mrl_region region_;
  mrl_target target_{};
};

TEST_F(PeerRegion, ARecallCostsThePeerAPauseAndGivesItNewKeys) {
  ASSERT_EQ(enter(), 0) << mrl_last_error();
  EXPECT_EQ(target_.address, reinterpret_cast<std::uint64_t>(mrl_addr(&region_)));
  EXPECT_EQ(target_.rkey, mrl_rkey(&region_));
  EXPECT_EQ(target_.size, kBytes);
  const std::uint32_t first = target_.rkey;
  const auto asked = daemon_->send_recall(recall(wire::v1::ACTION_QUIESCE));
  until_held();
  EXPECT_NE(mrl_mr(&region_), nullptr) << "the peer is inside";
  ASSERT_EQ(leave(), 0);
  EXPECT_EQ(daemon_->wait_done(asked), 0);
  EXPECT_EQ(enter(0), EAGAIN);
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_REREGISTER)), 0);
  ASSERT_EQ(enter(), 0) << mrl_last_error();
  EXPECT_NE(target_.rkey, first);
  EXPECT_EQ(target_.rkey, mrl_rkey(&region_));
  EXPECT_EQ(target_.size, kBytes / 2);
  EXPECT_EQ(target_.generation, 2u);
  EXPECT_EQ(leave(), 0);
  EXPECT_EQ(mrl_peers_status(peers_, number_), 0) << mrl_last_error();
}

TEST_F(PeerRegion, AHungPeerIsCutAndTheLeaseLives) {
  ASSERT_EQ(enter(), 0) << mrl_last_error();
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE, 1600)), 0);
  EXPECT_EQ(mrl_peers_status(peers_, number_), ETIMEDOUT);
  EXPECT_TRUE(data_.in_error());
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_REREGISTER)), 0);
  EXPECT_NE(mrl_mr(&region_), nullptr);
  leave();
}

TEST_F(PeerRegion, AFenceIsTold) {
  ASSERT_EQ(enter(), 0) << mrl_last_error();
  ASSERT_EQ(leave(), 0);
  daemon_->notice(wire::v1::Notice::FENCED, 1);
  int code = 0;
  while ((code = enter(0)) == 0) leave();
  EXPECT_EQ(code, EKEYREVOKED) << mrl_last_error();
}

TEST_F(PeerRegion, HeldByTheOwnerUntilItIsReleased) {
  ASSERT_EQ(mrl_peers_hold(peers_, &region_, kLongMs), 0) << mrl_last_error();
  EXPECT_EQ(mrl_peers_hold(peers_, &region_, kLongMs), EALREADY);
  EXPECT_EQ(enter(0), EAGAIN);
  // A break meanwhile: its RESTORED does not let the peer in.
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), 0);
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_REREGISTER)), 0);
  EXPECT_EQ(enter(20), ETIMEDOUT);
  ASSERT_EQ(mrl_peers_release(peers_, &region_), 0) << mrl_last_error();
  EXPECT_EQ(mrl_peers_release(peers_, &region_), EINVAL);
  ASSERT_EQ(enter(), 0) << mrl_last_error();
  EXPECT_EQ(target_.rkey, mrl_rkey(&region_));
  EXPECT_EQ(leave(), 0);
}

// It is told when it is usable, not before.
TEST_F(PeerRegion, OfferedWhileItIsRecalled) {
  ASSERT_EQ(mrl_peers_withdraw(peers_, &region_, kLongMs), 0);
  EXPECT_EQ(mrl_peers_offer(peers_, &region_, kFile + 1), 0);
  EXPECT_EQ(mrl_peers_offer(peers_, &region_, kFile + 2), EEXIST);
  EXPECT_EQ(mrl_peers_withdraw(peers_, &region_, kLongMs), 0);
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), 0);
  ASSERT_EQ(mrl_peers_offer(peers_, &region_, kFile), 0);
  EXPECT_EQ(enter(20) == 0, false);
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_REREGISTER)), 0);
  int code = 0;
  while ((code = enter(20)) == EKEYREVOKED || code == ETIMEDOUT) continue;
  ASSERT_EQ(code, 0) << mrl_last_error();
  EXPECT_EQ(target_.rkey, mrl_rkey(&region_));
  EXPECT_EQ(leave(), 0);
}

}  // namespace
}  // namespace mrlease::client
