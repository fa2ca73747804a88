// SPDX-License-Identifier: Apache-2.0
// Every recall of a region.
#include <future>

#include "tests/unit/client/region_fixture.h"

namespace mrlease::client {
namespace {

TEST_F(RegionTest, DirectQuiesceAndReregister) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  const std::uint32_t old_key = region_->rkey();
  ASSERT_EQ(region_->guard().enter(), 0);
  const std::uint64_t id = daemon_->send_recall(recall(wire::v1::ACTION_QUIESCE));
  EXPECT_EQ(wait_for(MRL_EVENT_RECALL).recall, id);
  EXPECT_EQ(daemon_->count(Frame::kRecallDone), 0) << "somebody is still posting";
  EXPECT_NE(region_->mr(), nullptr);
  region_->guard().leave();
  EXPECT_EQ(daemon_->wait_done(id), 0);
  EXPECT_EQ(FakeDevice::live, 0);
  EXPECT_EQ(region_->mr(), nullptr);
  EXPECT_EQ(region_->guard().enter(), EAGAIN);
  auto again = recall(wire::v1::ACTION_REREGISTER);
  again.set_size(kOffset + 3 * kPage + 5);
  ASSERT_EQ(::ftruncate(file_.get(), static_cast<off_t>(again.size())), 0);
  EXPECT_EQ(daemon_->recall(again), 0);
  EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED).size, 3 * kPage + 5);
  const mrl_event restored = wait_for(MRL_EVENT_RESTORED);
  EXPECT_EQ(restored.generation, 2u);
  EXPECT_NE(restored.rkey, old_key);
  EXPECT_EQ(restored.rkey, region_->rkey());
  EXPECT_EQ(region_->mr()->length, 4 * kPage);
  EXPECT_EQ(region_->guard().enter(), 0);
  region_->guard().leave();
}

// A daemon was killed after its order was carried out, and its successor gives it again: whoever uses the memory region is
// not cut off.
TEST_F(RegionTest, DirectReregisteredTwiceStaysWhatItIs) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  auto again = recall(wire::v1::ACTION_REREGISTER);
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), 0);
  wait_for(MRL_EVENT_RECALL);
  ASSERT_EQ(daemon_->recall(again), 0);
  wait_for(MRL_EVENT_RESTORED);
  const std::uint32_t key = region_->rkey();
  EXPECT_EQ(daemon_->recall(again), 0);
  EXPECT_EQ(region_->rkey(), key);
  EXPECT_EQ(info().generation, 2u);
  EXPECT_EQ(daemon_->count(Frame::kRemoveMr), 1);

  // The file ends elsewhere in its last page: that needs no other memory region, but is told.
  again.set_size(kOffset + kLength - 5);
  EXPECT_EQ(daemon_->recall(again), 0);
  EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED).size, kLength - 5);
  EXPECT_EQ(region_->rkey(), key);

  // Of another size: the application is asked first.
  again.set_size(kOffset + 3 * kPage);
  ASSERT_EQ(::ftruncate(file_.get(), static_cast<off_t>(again.size())), 0);
  EXPECT_EQ(daemon_->recall(again), 0);
  wait_for(MRL_EVENT_RECALL, 2);
  EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED, 2).size, 3 * kPage);
  EXPECT_EQ(wait_for(MRL_EVENT_RESTORED, 2).generation, 3u);
  EXPECT_EQ(region_->mr()->length, 3 * kPage);
  EXPECT_EQ(FakeDevice::live, 1);
}

// Nothing held who cut the file after the daemon had looked: pages that are gone cannot be pinned (EFAULT).
TEST_F(RegionTest, DirectReregistersWhatIsLeftOfTheFile) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), 0);
  ASSERT_EQ(::ftruncate(file_.get(), kOffset + 2 * kPage), 0);
  FakeDevice::fail_with = EFAULT;
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_REREGISTER)), 0);
  EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED).size, 2 * kPage);
  wait_for(MRL_EVENT_RESTORED);
  EXPECT_EQ(region_->mr()->length, 2 * kPage);
}

TEST_F(RegionTest, ARecallCanBeAnsweredLater) {
  connect();
  act([](const mrl_event& e) { return e.type == MRL_EVENT_RECALL ? EINPROGRESS : 0; });
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  const std::uint64_t id = daemon_->send_recall(recall(wire::v1::ACTION_QUIESCE));
  wait_for(MRL_EVENT_RECALL);
  EXPECT_EQ(region_->complied(id + 1).code, EINVAL);
  EXPECT_TRUE(region_->complied(id).ok());
  EXPECT_EQ(daemon_->wait_done(id), 0);
  EXPECT_EQ(region_->complied(id).code, EINVAL);
}

TEST_F(RegionTest, WhoDoesNotAnswerIsReported) {
  connect();
  act([](const mrl_event& e) { return e.type == MRL_EVENT_RECALL ? EINPROGRESS : 0; });
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  auto r = recall(wire::v1::ACTION_QUIESCE);
  r.set_deadline_ms(50);
  EXPECT_EQ(daemon_->recall(r), ETIMEDOUT);
  EXPECT_EQ(FakeDevice::live, 1) << "the keys stay until the fence";
}

// Where policy denies the operation for it, the lease lives on, and nothing more comes from the daemon.
TEST_F(RegionTest, WhoDoesNotComplyGoesOn) {
  for (const int answer : {EINPROGRESS, EACCES}) {
    connect();
    act([=](const mrl_event& e) { return e.type == MRL_EVENT_RECALL ? answer : 0; });
    ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
    ibv_mr* const before = region_->mr();
    auto r = recall(wire::v1::ACTION_QUIESCE);
    r.set_deadline_ms(50);
    EXPECT_EQ(daemon_->recall(r), answer == EACCES ? ECANCELED : ETIMEDOUT);
    EXPECT_EQ(region_->guard().enter(), 0);
    region_->guard().leave();
    EXPECT_EQ(region_->mr(), before);
    EXPECT_EQ(wait_for(MRL_EVENT_RESTORED).rkey, region_->rkey());
    EXPECT_TRUE(region_->dereg().ok());
    region_.reset();
    context_.reset();
    events_.clear();
  }
}

// An order that holds is not undone for one that was refused after it.
TEST_F(RegionTest, WhoIsQuietByAnotherOrderStaysQuiet) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), 0);
  act([](const mrl_event& e) { return e.type == MRL_EVENT_RECALL ? EACCES : 0; });
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), ECANCELED);
  EXPECT_EQ(region_->guard().enter(), EAGAIN);
  EXPECT_EQ(FakeDevice::live, 0);
  EXPECT_EQ(count(MRL_EVENT_RESTORED), 0u);
}

// One memory region was gone already when the other could not be deregistered.
TEST_F(RegionTest, WhatIsLeftOfARefusedRecallIsRegisteredAgain) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  unsigned index = 0;
  ASSERT_TRUE(region_->add_mr(&device_.pd, IBV_ACCESS_REMOTE_READ, &index).ok());
  ibv_mr* const bound = region_->mr(1);
  int removed = 0;
  daemon_->script([&](ScriptedDaemon&, const Frame& f) {
    if (f.has_remove_mr()) FakeDevice::windows = removed++;
    return false;
  });
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), EBUSY);
  EXPECT_EQ(wait_for(MRL_EVENT_RESTORED).generation, 2u);
  EXPECT_EQ(region_->guard().enter(), 0);
  region_->guard().leave();
  EXPECT_NE(region_->mr(), nullptr);
  EXPECT_EQ(region_->mr(1), bound);
  EXPECT_EQ(FakeDevice::live, 2);
  FakeDevice::windows = 0;
  daemon_->script({});
}

// The store is too small to be written to (RLIMIT_FSIZE would do as well): the memory regions were gone by then.
TEST_F(RegionTest, AFreezeThatCannotBeCopiedLeavesTheRegionInUse) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  const wire::Fd sealed(::memfd_create("store", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::fcntl(sealed.get(), F_ADD_SEALS, F_SEAL_GROW), 0);
  Frame f;
  *f.mutable_recall() = recall(wire::v1::ACTION_FREEZE, 5);
  f.mutable_recall()->set_recall(77);
  f.mutable_recall()->set_deadline_ms(20000);
  daemon_->send(f, {sealed.get()});
  EXPECT_EQ(daemon_->wait_done(77), EPERM);
  wait_for(MRL_EVENT_RESTORED);
  EXPECT_EQ(region_->guard().enter(), 0);
  region_->guard().leave();
  EXPECT_NE(region_->mr(), nullptr);
  at(3) = 'c';
  EXPECT_EQ(in_file(3), 'c') << "it is on the file";
}

TEST_F(RegionTest, DirectFreezeMovesToTheStoreAndBack) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_FREEZE, 5)), 0);
  EXPECT_EQ(wait_for(MRL_EVENT_RESTORED).backing, MRL_BACKING_BOUNCE);
  std::memset(region_->address(), 'b', kLength);  // the store of this script is empty: fill all of it
  EXPECT_EQ(in_file(3), 'a');
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_THAW, 5)), 0);
  EXPECT_EQ(in_file(3), 'b');
  EXPECT_EQ(wait_for(MRL_EVENT_RESTORED, 2).backing, MRL_BACKING_DIRECT);
  at(3) = 'c';
  EXPECT_EQ(in_file(3), 'c');
  EXPECT_EQ(info().generation, 3u);
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_DIRTY)), 0);
}

TEST_F(RegionTest, CooperativeFreezeCopiesAndThawMerges) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_ODP_COOPERATIVE).ok());
  const std::uint32_t key = region_->rkey();
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_FREEZE, 5)), 0);
  EXPECT_EQ(count(MRL_EVENT_RECALL), 0u) << "a freeze asks nobody";
  at(2) = 'w';
  EXPECT_EQ(in_file(2), 'a');
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_THAW, 5)), 0);
  EXPECT_EQ(count(MRL_EVENT_RECALL), 1u);
  EXPECT_EQ(in_file(2), 'w');
  EXPECT_EQ(wait_for(MRL_EVENT_RESTORED).rkey, key);
  EXPECT_EQ(info().pages_merged, 1u);
  at(2) = 'x';
  EXPECT_EQ(in_file(2), 'x');
}

// The disk is full, and the lease is fenced for it: the store is the only place that has what was written.
class RefusedThaw : public RegionTest, public testing::WithParamInterface<mrl_backing> {};
INSTANTIATE_TEST_SUITE_P(OfBackings, RefusedThaw, testing::Values(MRL_BACKING_DIRECT, MRL_BACKING_ODP_COOPERATIVE),
                         [](const auto& of) { return of.param == MRL_BACKING_DIRECT ? "direct" : "cooperative"; });

TEST_P(RefusedThaw, LeavesWhatWasWrittenInTheMapping) {
  const bool direct = GetParam() == MRL_BACKING_DIRECT;
  connect();
  ASSERT_TRUE(reg(GetParam()).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_FREEZE, 5)), 0);
  if (direct) wait_for(MRL_EVENT_RESTORED);
  at(2) = 'w';
  daemon_->script([](ScriptedDaemon& daemon, const Frame& frame) {
    if (frame.has_merge()) daemon.reply_status(frame, ENOSPC, "scripted");
    return frame.has_merge();
  });
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_THAW, 5)), ENOSPC);
  EXPECT_EQ(daemon_->recall_done().deregistered(), direct) << "its memory region is gone, and it has said so";
  EXPECT_EQ(at(2), 'w');
  daemon_->notice(wire::v1::Notice::FENCED, 1);  // for that
  wait_for(MRL_EVENT_FENCED);
  EXPECT_EQ(at(2), 'w');
  EXPECT_EQ(in_file(2), 'a');
  leaked_ = direct ? 0 : 1;
}

TEST_F(RegionTest, CooperativeTrimAndExtend) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_ODP_COOPERATIVE).ok());
  auto trim = recall(wire::v1::ACTION_TRIM, 6);
  trim.set_offset(kOffset + 4 * kPage);
  trim.set_length(kLength - 4 * kPage);
  ASSERT_EQ(daemon_->recall(trim), 0);
  EXPECT_EQ(region_->guard().enter(), EAGAIN);
  ASSERT_EQ(::ftruncate(file_.get(), kOffset + 4 * kPage), 0);
  auto settle = recall(wire::v1::ACTION_SETTLE, 6);
  settle.set_size(kOffset + 4 * kPage);
  ASSERT_EQ(daemon_->recall(settle), 0);
  EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED).size, 4 * kPage);
  wait_for(MRL_EVENT_RESTORED);
  at(10) = 'o';  // an orphan: no SIGBUS
  ASSERT_EQ(::ftruncate(file_.get(), kOffset + kLength), 0);
  std::uint64_t size = 0;
  ASSERT_TRUE(region_->extend(TakeBack::Discard, &size).ok());
  EXPECT_EQ(size, kLength);
  EXPECT_EQ(at(10), 0);
  at(10) = 'n';
  EXPECT_EQ(in_file(10), 'n');
}

TEST_F(RegionTest, TransparentFreezeThawTrimSettleExtend) {
  if (!connect(true)) GTEST_SKIP() << context_->userfaultfd_reason();
  ASSERT_TRUE(reg(MRL_BACKING_ODP, true).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_FREEZE, 5)), 0);
  at(2) = 'w';
  EXPECT_EQ(in_file(2), 'a');
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_THAW, 5)), 0);
  EXPECT_EQ(in_file(2), 'w');
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_TRIM, 6)), 0);
  ASSERT_EQ(::ftruncate(file_.get(), kOffset), 0);
  auto settle = recall(wire::v1::ACTION_SETTLE, 6);
  settle.set_size(kOffset);
  ASSERT_EQ(daemon_->recall(settle), 0);
  EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED).size, 0u);
  at(1) = 'o';
  ASSERT_EQ(::ftruncate(file_.get(), kOffset + kLength), 0);
  ASSERT_TRUE(region_->extend(TakeBack::Discard, nullptr).ok());
  at(1) = 'n';
  EXPECT_EQ(in_file(1), 'n');
  EXPECT_EQ(count(MRL_EVENT_RECALL), 0u) << "nobody is asked";
  EXPECT_EQ(info().generation, 1u);
  EXPECT_EQ(info().recalls, 4u);
}

// Destroyed by the daemon: the handle may be a stranger's, so ibv_dereg_mr must not be called.
TEST_F(RegionTest, AfterAFenceNothingIsDeregistered) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_BOUNCE).ok());
  daemon_->notice(wire::v1::Notice::FENCED, 1);
  wait_for(MRL_EVENT_FENCED);
  EXPECT_EQ(region_->mr(), nullptr);
  EXPECT_EQ(region_->guard().enter(), EKEYREVOKED);
  EXPECT_EQ(info().fenced, 1);
  EXPECT_TRUE(region_->dereg().ok());
  region_.reset();
  EXPECT_EQ(FakeDevice::deregistered, 0);
  EXPECT_EQ(context_->leaked_mrs, 1u);
  leaked_ = 1;
}

TEST_F(RegionTest, FencedWhileTheCallbackRuns) {
  connect();
  std::promise<void> inside, leave;
  act([&](const mrl_event& e) {
    if (e.type == MRL_EVENT_RECALL) {
      inside.set_value();
      leave.get_future().wait();
    }
    return 0;
  });
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  const std::uint64_t id = daemon_->send_recall(recall(wire::v1::ACTION_QUIESCE));
  inside.get_future().wait();
  daemon_->notice(wire::v1::Notice::FENCED, 1);
  EXPECT_EQ(daemon_->wait_done(id), EKEYREVOKED);
  leave.set_value();
  wait_for(MRL_EVENT_FENCED);
  EXPECT_EQ(count(MRL_EVENT_FENCED), 1u);
  leaked_ = 1;
}

TEST_F(RegionTest, FencedInTheMiddleOfAThaw) {
  if (!connect(true)) GTEST_SKIP() << context_->userfaultfd_reason();
  ASSERT_TRUE(reg(MRL_BACKING_ODP, true).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_FREEZE, 5)), 0);
  at(2) = 'w';
  daemon_->script([](ScriptedDaemon& d, const Frame& f) {
    if (!f.has_merge()) return false;
    d.notice(wire::v1::Notice::FENCED, 1);
    d.reply_status(f, EKEYREVOKED, "fenced");
    return true;
  });
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_THAW, 5)), EKEYREVOKED);
  wait_for(MRL_EVENT_FENCED);
  // dereg waits for the restoring that the fence has started.
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(count(MRL_EVENT_FENCED), 1u);
  region_.reset();
  leaked_ = 1;
}

}  // namespace
}  // namespace mrlease::client
