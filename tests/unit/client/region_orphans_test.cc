// SPDX-License-Identifier: Apache-2.0
// What was cut off from under a region: how much of it is kept, for how long, and how it comes back to the file.
#include <sys/stat.h>

#include "tests/unit/client/region_fixture.h"

namespace mrlease::client {
namespace {

constexpr std::uint64_t kCut = 4;  // pages that stay on the file

class RegionOrphansTest : public RegionTest, public ::testing::WithParamInterface<bool> {
 protected:
  bool transparent() const { return GetParam(); }
  // False: this machine grants no userfaultfd.
  bool start() {
    orphans_.preserve = true;
    if (!connect(transparent())) return false;
    EXPECT_TRUE(reg(transparent() ? MRL_BACKING_ODP : MRL_BACKING_ODP_COOPERATIVE, transparent()).ok());
    return true;
  }
  void cut() {
    auto trim = recall(wire::v1::ACTION_TRIM, 6);
    trim.set_offset(kOffset + kCut * kPage);
    trim.set_length(length_ - kCut * kPage);
    trim.set_size(kOffset + kCut * kPage);
    ASSERT_EQ(daemon_->recall(trim), 0);
    ASSERT_EQ(::ftruncate(file_.get(), kOffset + kCut * kPage), 0);
    auto settle = recall(wire::v1::ACTION_SETTLE, 6);
    settle.set_size(kOffset + kCut * kPage);
    ASSERT_EQ(daemon_->recall(settle), 0);
    EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED).size, kCut * kPage);
  }
  void grow() { ASSERT_EQ(::ftruncate(file_.get(), static_cast<off_t>(kOffset + length_)), 0); }
  std::uint64_t on_file() { return info().size; }
  // Bytes, once there are some.
  std::uint64_t discarded_in_time() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (info().orphan_bytes_discarded == 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    return info().orphan_bytes_discarded;
  }
};

INSTANTIATE_TEST_SUITE_P(Odp, RegionOrphansTest, ::testing::Bool(),
                         [](const auto& which) { return which.param ? "Transparent" : "Cooperative"; });

#define START_OR_SKIP() \
  if (!start()) GTEST_SKIP() << context_->userfaultfd_reason()

TEST_P(RegionOrphansTest, ReattachedAreInTheFile) {
  daemon_version_ = wire::kVersionMax;
  START_OR_SKIP();
  cut();
  at(10) = 'o';
  grow();
  ASSERT_EQ(::pwrite(file_.get(), "x", 1, kOffset + 10 * kPage), 1);
  std::uint64_t size = 0;
  const Outcome o = region_->extend(TakeBack::Reattach, &size);
  ASSERT_TRUE(o.ok()) << o.text;
  EXPECT_EQ(size, kLength);
  EXPECT_EQ(in_file(10), 'o');
  EXPECT_EQ(in_file(5), 'a') << "was preserved";
  at(10) = 'n';
  EXPECT_EQ(in_file(10), 'n');
  const mrl_info now = info();
  EXPECT_EQ(now.bytes_cut_off, (kPages - kCut) * kPage);
  EXPECT_EQ(now.orphan_bytes_kept, (kPages - kCut) * kPage);
  EXPECT_EQ(now.orphan_bytes_reattached, (kPages - kCut) * kPage);
  EXPECT_EQ(now.orphan_bytes_discarded, 0u);
  EXPECT_EQ(count(MRL_EVENT_RECALL), transparent() ? 0u : 1u) << "to be cut";
}

TEST_P(RegionOrphansTest, NoMoreAreKeptThanAskedFor) {
  orphans_.bytes_max = 2 * kPage + 100;
  START_OR_SKIP();
  cut();
  EXPECT_EQ(at(kCut), 'a');
  EXPECT_EQ(at(kCut + 1), 'a');
  EXPECT_EQ(at(kCut + 2), 0);
  EXPECT_EQ(info().orphan_bytes_kept, 2 * kPage);
}

TEST_P(RegionOrphansTest, ARuleOfTheAdministratorAllowsLess) {
  daemon_granted_.set_orphan_bytes_max(kPage);
  daemon_granted_.set_orphan_keep_ms_max(50);
  orphans_.bytes_max = 5 * kPage;
  orphan_keep_ = std::chrono::hours(1);
  START_OR_SKIP();
  cut();
  EXPECT_EQ(info().orphan_bytes_kept, kPage);
  EXPECT_EQ(discarded_in_time(), kPage);
}

TEST_P(RegionOrphansTest, ARuleOfTheAdministratorDiscardsThem) {
  daemon_granted_.set_discard_orphans(true);
  START_OR_SKIP();
  cut();
  EXPECT_EQ(at(kCut), 0);
  EXPECT_EQ(info().orphan_bytes_kept, 0u);
}

TEST_P(RegionOrphansTest, NoLongerThanAskedFor) {
  orphan_keep_ = std::chrono::milliseconds(50);
  START_OR_SKIP();
  cut();
  EXPECT_EQ(discarded_in_time(), (kPages - kCut) * kPage);
  EXPECT_EQ(at(10), 0);
  at(10) = 'p';  // who goes on writing there has memory again
  EXPECT_EQ(at(10), 'p');
}

// A package that is installed over a running daemon, and one that is taken back.
TEST_P(RegionOrphansTest, AnotherDaemonSaysWhatItSpeaks) {
  START_OR_SKIP();
  cut();
  at(10) = 'o';
  grow();
  const auto replaced_by = [this](std::uint32_t version) {
    const int devices = daemon_->count(Frame::kAddDevice);
    Frame resume;
    resume.mutable_resume()->set_version(version);
    daemon_->send(resume);
    EXPECT_TRUE(daemon_->wait_for(Frame::kAddDevice, devices + 1)) << "it is handed over after the version was taken";
  };
  replaced_by(0);
  EXPECT_EQ(region_->extend(TakeBack::Reattach, nullptr).code, EOPNOTSUPP);
  EXPECT_EQ(at(10), 'o');
  replaced_by(wire::kVersionMax + 1);
  ASSERT_TRUE(region_->extend(TakeBack::Reattach, nullptr).ok());
  EXPECT_EQ(in_file(10), 'o');
}

TEST_P(RegionOrphansTest, WithAnOlderDaemonTheyStayWhereTheyAre) {
  daemon_version_ = 4;
  START_OR_SKIP();
  cut();
  at(10) = 'o';
  grow();
  EXPECT_EQ(region_->extend(TakeBack::Reattach, nullptr).code, EOPNOTSUPP);
  EXPECT_EQ(at(10), 'o');
  EXPECT_EQ(on_file(), kCut * kPage);
  EXPECT_EQ(in_file(10), 0);
  ASSERT_TRUE(region_->extend(TakeBack::Discard, nullptr).ok());
  EXPECT_EQ(at(10), 0);
}

TEST_P(RegionOrphansTest, WhereTheFileCannotBeWrittenTheyStay) {
  daemon_version_ = wire::kVersionMax;
  START_OR_SKIP();
  cut();
  at(10) = 'o';
  grow();
  daemon_->script([](ScriptedDaemon& daemon, const Frame& f) {
    if (!f.has_merge()) return false;
    daemon.reply_status(f, ENOSPC, "scripted");
    return true;
  });
  EXPECT_EQ(region_->extend(TakeBack::Reattach, nullptr).code, ENOSPC);
  EXPECT_EQ(at(10), 'o');
  EXPECT_EQ(on_file(), kCut * kPage);
  daemon_->script({});
  ASSERT_TRUE(region_->extend(TakeBack::Reattach, nullptr).ok());
  EXPECT_EQ(in_file(10), 'o');
}

TEST_P(RegionOrphansTest, WithoutADaemonTheyStay) {
  daemon_version_ = wire::kVersionMax;
  START_OR_SKIP();
  cut();
  at(10) = 'o';
  grow();
  daemon_->script([](ScriptedDaemon& daemon, const Frame& f) {
    if (!f.has_merge()) return false;
    daemon.hang_up();
    return true;
  });
  EXPECT_EQ(region_->extend(TakeBack::Reattach, nullptr).code, ENOTCONN);
  wait_for(MRL_EVENT_DISCONNECTED);
  EXPECT_EQ(at(10), 'o');
  EXPECT_EQ(in_file(10), 0) << "it may be somebody else's by now";
}

// The daemon knows of an operation before the recall is here.
TEST_P(RegionOrphansTest, WhatTheDaemonRecallsIsAskedForAgain) {
  daemon_version_ = wire::kVersionMax;
  START_OR_SKIP();
  cut();
  at(10) = 'o';
  grow();
  daemon_->script([](ScriptedDaemon& daemon, const Frame& f) {
    if (!f.has_merge()) return false;
    daemon.reply_status(f, EBUSY, "recalled");
    return true;
  });
  EXPECT_EQ(region_->extend(TakeBack::Reattach, nullptr).code, EAGAIN);
  EXPECT_EQ(at(10), 'o');
}

TEST_P(RegionOrphansTest, ARecallComesBetweenTwoPieces) {
  constexpr std::uint64_t kMany = 600;
  daemon_version_ = wire::kVersionMax;
  length_ = kMany * kPage;
  grow();
  START_OR_SKIP();
  cut();
  for (const std::uint64_t page : {kCut, kMany - 1}) at(page) = 'o';
  grow();
  std::uint64_t freeze = 0;
  daemon_->script([&](ScriptedDaemon& daemon, const Frame& f) {
    auto order = recall(wire::v1::ACTION_FREEZE, 7);
    order.set_length(kPage);
    if (f.has_merge() && freeze == 0) freeze = daemon.send_recall(order);
    return false;
  });
  EXPECT_EQ(region_->extend(TakeBack::Reattach, nullptr).code, EAGAIN);
  EXPECT_EQ(daemon_->wait_done(freeze), 0);
  EXPECT_EQ(in_file(kCut), 'o') << "that piece was done";
  EXPECT_EQ(in_file(kMany - 1), 0);
  EXPECT_EQ(at(kMany - 1), 'o');
  EXPECT_GT(on_file(), kCut * kPage);
  EXPECT_LT(on_file(), length_);
  auto thaw = recall(wire::v1::ACTION_THAW, 7);
  thaw.set_length(kPage);
  ASSERT_EQ(daemon_->recall(thaw), 0);
  ASSERT_TRUE(region_->extend(TakeBack::Reattach, nullptr).ok());
  EXPECT_EQ(in_file(kMany - 1), 'o');
  EXPECT_EQ(on_file(), length_);
}

}  // namespace
}  // namespace mrlease::client
