// SPDX-License-Identifier: Apache-2.0
// A region's life: registered, with its memory regions, and given back.
#include "tests/unit/client/region_fixture.h"

namespace mrlease::client {
namespace {

TEST_F(RegionTest, BounceLivesAndIsReleasedInOrder) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_BOUNCE).ok());
  EXPECT_NE(region_->mr(), nullptr);
  EXPECT_EQ(info().size, kLength);
  EXPECT_EQ(info().generation, 1u);
  std::vector<int> order;
  daemon_->script([&](ScriptedDaemon&, const Frame& f) {
    order.push_back(f.body_case());
    EXPECT_EQ(FakeDevice::live.load(), f.has_release() ? 0 : 1);
    return false;
  });
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(order, (std::vector<int>{Frame::kRemoveMr, Frame::kRelease}));
  EXPECT_EQ(FakeDevice::deregistered, 1);
  region_.reset();
}

// The application's mapping: bounce memory while it is leased, the file's before and after.
TEST_F(RegionTest, AnAdoptedMappingIsGivenBack) {
  for (const mrl_backing backing : {MRL_BACKING_BOUNCE, MRL_BACKING_DIRECT, MRL_BACKING_ODP_COOPERATIVE}) {
    connect();
    ASSERT_NE(adopt(), nullptr);
    ASSERT_TRUE(reg(backing).ok());
    EXPECT_EQ(region_->address(), adopted_);
    at(3) = static_cast<char>('A' + backing);
    EXPECT_EQ(in_file(3) == at(3), backing != MRL_BACKING_BOUNCE);
    EXPECT_TRUE(region_->dereg().ok());
    region_.reset();
    adopted_[5 * kPage] = static_cast<char>('a' + backing);
    EXPECT_EQ(in_file(5), 'a' + backing) << "it is the file's";
    EXPECT_EQ(adopted_[3 * kPage], in_file(3));
    ::munmap(std::exchange(adopted_, nullptr), kLength);
    context_.reset();
  }
}

TEST_F(RegionTest, AnAdoptedMappingOutlivesARefusal) {
  connect();
  ASSERT_NE(adopt(), nullptr);
  daemon_->script([](ScriptedDaemon& d, const Frame& f) {
    if (f.has_register_()) d.reply_status(f, EBUSY, "overlaps");
    return f.has_register_();
  });
  for (const mrl_backing backing : {MRL_BACKING_BOUNCE, MRL_BACKING_ODP_COOPERATIVE}) {
    EXPECT_EQ(reg(backing).code, EBUSY);
    adopted_[kPage] = static_cast<char>('p' + backing);
    EXPECT_EQ(in_file(1), 'p' + backing);
  }
  ::munmap(adopted_, kLength);
}

TEST_F(RegionTest, ARefusedLeaseLeavesNothing) {
  connect();
  daemon_->script([](ScriptedDaemon& d, const Frame& f) {
    if (f.has_register_()) d.reply_status(f, EBUSY, "overlaps a write lease of process 12");
    return f.has_register_();
  });
  const Outcome o = reg(MRL_BACKING_BOUNCE);
  EXPECT_EQ(o.code, EBUSY);
  EXPECT_EQ(o.text, "overlaps a write lease of process 12");
  EXPECT_EQ(FakeDevice::live, 0);
}

// AUTO, where a rule of the administrator wants bounce.
TEST_F(RegionTest, WhatIsRefusedItsBackingIsBounceWhereThatWillDo) {
  connect();
  daemon_->script([](ScriptedDaemon& d, const Frame& f) {
    const bool refuse = f.has_register_() && f.register_().backing() != wire::v1::BACKING_BOUNCE;
    if (refuse) d.reply_status(f, EOPNOTSUPP, "a rule allows no other backing than bounce");
    return refuse;
  });
  ASSERT_NE(adopt(), nullptr);
  EXPECT_EQ(reg(MRL_BACKING_ODP_COOPERATIVE).code, EOPNOTSUPP) << "it was asked for";
  or_bounce_ = true;
  ASSERT_TRUE(reg(MRL_BACKING_ODP_COOPERATIVE).ok());
  EXPECT_EQ(region_->address(), adopted_);
  mrl_info info{};
  info.struct_size = sizeof info;
  region_->info(&info);
  EXPECT_EQ(info.backing, MRL_BACKING_BOUNCE);
  EXPECT_STREQ(info.backing_reason, "a rule allows no other backing than bounce");
  EXPECT_TRUE(region_->dereg().ok());
  region_.reset();
  ::munmap(std::exchange(adopted_, nullptr), kLength);
}

TEST_F(RegionTest, AnotherRefusalIsOne) {
  connect();
  or_bounce_ = true;
  daemon_->script([](ScriptedDaemon& d, const Frame& f) {
    if (f.has_register_()) d.reply_status(f, EACCES, "no");
    return f.has_register_();
  });
  const Outcome o = reg(MRL_BACKING_ODP_COOPERATIVE);
  EXPECT_EQ(o.code, EACCES);
  EXPECT_EQ(o.text, "no");
}

// A store to a page that its memory does not have would be SIGBUS.
TEST_F(RegionTest, ABounceLeaseWithTooLittleMemoryIsGivenBack) {
  connect();
  const wire::Fd memory(::memfd_create("bounce", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(memory.get(), kLength - kPage), 0);
  daemon_->script([&](ScriptedDaemon& d, const Frame& f) {
    if (!f.has_register_()) return false;
    Frame granted;
    granted.mutable_granted()->set_lease(1);
    granted.mutable_granted()->set_backing(wire::v1::BACKING_BOUNCE);
    d.reply(f, std::move(granted), {memory.get()});
    return true;
  });
  const Outcome o = reg(MRL_BACKING_BOUNCE);
  EXPECT_EQ(o.code, EPROTO);
  EXPECT_NE(o.text.find("61440 bytes of memory"), std::string::npos) << o.text;
  EXPECT_EQ(daemon_->count(Frame::kRelease), 1);
}

TEST_F(RegionTest, ARegistrationThatFailsGivesTheLeaseBack) {
  connect();
  FakeDevice::fail_with = EFAULT;
  const Outcome o = reg(MRL_BACKING_DIRECT);
  EXPECT_EQ(o.code, EOPNOTSUPP);
  EXPECT_NE(o.text.find("6.5 and later"), std::string::npos) << o.text;
  EXPECT_EQ(daemon_->count(Frame::kRelease), 1);
}

TEST_F(RegionTest, SeveralMemoryRegionsAreOfOneLease) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  unsigned index = 0;
  ibv_pd other{};
  other.context = &device_.context;
  ASSERT_TRUE(region_->add_mr(&other, IBV_ACCESS_REMOTE_READ, &index).ok());
  EXPECT_EQ(index, 1u);
  ASSERT_NE(region_->mr(1), nullptr);
  EXPECT_EQ(region_->mr(1)->pd, &other);
  EXPECT_EQ(region_->mr(0), region_->mr());
  EXPECT_EQ(region_->mr(2), nullptr);
  EXPECT_EQ(daemon_->count(Frame::kAddMr), 2);

  FakeDevice::fail_with = ENOMEM;
  EXPECT_EQ(region_->add_mr(&other, IBV_ACCESS_REMOTE_READ, &index).code, ENOMEM);
  EXPECT_NE(region_->mr(1), nullptr);
  EXPECT_EQ(FakeDevice::live, 2);

  // Both go for a recall, and both come again.
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), 0);
  EXPECT_EQ(FakeDevice::live, 0);
  EXPECT_EQ(region_->mr(0), nullptr);
  EXPECT_EQ(region_->mr(1), nullptr);
  EXPECT_EQ(region_->add_mr(&other, IBV_ACCESS_REMOTE_READ, &index).code, EAGAIN);
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_REREGISTER)), 0);
  EXPECT_EQ(FakeDevice::live, 2);
  EXPECT_NE(region_->mr(1), nullptr);
  EXPECT_EQ(info().generation, 2u);
  EXPECT_EQ(daemon_->count(Frame::kAddMr), 4);

  // One that cannot be had again: none is.
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), 0);
  int adds = 0;
  daemon_->script([&](ScriptedDaemon& d, const Frame& f) {
    if (!f.has_add_mr() || ++adds != 2) return false;
    d.reply_status(f, ENOMEM, "no");
    return true;
  });
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_REREGISTER)), ENOMEM);
  EXPECT_EQ(FakeDevice::live, 0);
  EXPECT_EQ(region_->mr(0), nullptr);
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(FakeDevice::live, 0);
  region_.reset();
}

TEST_F(RegionTest, DeregWhileARecallWaitsForTheApplication) {
  connect();
  act([](const mrl_event& e) { return e.type == MRL_EVENT_RECALL ? EINPROGRESS : 0; });
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  const std::uint64_t id = daemon_->send_recall(recall(wire::v1::ACTION_QUIESCE));
  wait_for(MRL_EVENT_RECALL);
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(daemon_->wait_done(id), 0);
  EXPECT_EQ(FakeDevice::deregistered, 1);
  region_.reset();
}

// Whoever says that a thaw is done has brought the store to the file. A region that is being deregistered never will.
TEST_F(RegionTest, AThawDuringDeregIsTheDaemonsToDo) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_ODP_COOPERATIVE).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_FREEZE, 5)), 0);
  at(2) = 'w';
  std::atomic<std::uint64_t> id{0};
  daemon_->script([&](ScriptedDaemon& d, const wire::Frame& f) {
    if (f.has_release()) id = d.send_recall(recall(wire::v1::ACTION_THAW, 5));
    return false;
  });
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(daemon_->wait_done(id), ECANCELED);
  daemon_->script({});
  region_.reset();
}

TEST_F(RegionTest, SyncChecksItsRange) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_BOUNCE).ok());
  EXPECT_EQ(region_->sync(0, 1).code, EINVAL);
  EXPECT_EQ(region_->sync(kOffset, kLength + 1).code, EINVAL);
  EXPECT_TRUE(region_->sync(kOffset, 0).ok());
  EXPECT_EQ(daemon_->count(Frame::kSyncFile), 1);
}

}  // namespace
}  // namespace mrlease::client
