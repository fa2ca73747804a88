// SPDX-License-Identifier: Apache-2.0
// Frozen ranges: who asks, who waits, and what a merge writes.
#include "tests/integration/daemon/fixture.h"

namespace mrlease::test {

using std::chrono::milliseconds;

class FreezeTest : public DaemonTest {
 protected:
  void start_with_lease(std::vector<std::string> options = {}) {
    start(std::move(options));
    lease = client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize).frame.granted().lease();
    tool = std::make_unique<WireClient>(daemon->socket());
  }
  // The tool asks, the client exchanges the range; the client's Recall.
  Message freeze(std::uint32_t hold_ms) {
    wire::Frame f;
    f.mutable_freeze_file()->mutable_range();
    f.mutable_freeze_file()->set_hold_ms(hold_ms);
    tool->send(std::move(f), {fd.get()});
    Message recall = client->recall();
    EXPECT_EQ(recall.frame.recall().action(), v1::ACTION_FREEZE);
    client->comply(recall.frame.recall());
    const auto answer = tool->next();
    EXPECT_TRUE(answer && answer->frame.has_frozen());
    if (answer) freeze_id = answer->frame.frozen().freeze();
    return recall;
  }
  Message merge(const Message& recall, std::uint64_t offset, std::uint64_t length) {
    wire::Frame f;
    f.mutable_merge()->set_lease(lease);
    f.mutable_merge()->set_store(recall.frame.recall().store());
    auto* range = f.mutable_merge()->add_ranges();
    range->set_offset(offset);
    range->set_length(length);
    return client->call(std::move(f));
  }
  std::uint64_t lease = 0, freeze_id = 0;
  std::unique_ptr<WireClient> tool;
};

TEST_F(FreezeTest, MergeWritesTheStoreToTheFile) {
  start_with_lease();
  const Message recall = freeze(10000);
  EXPECT_EQ(::pwrite(recall.fds[0].get(), "STORE", 5, 8192), 5);
  EXPECT_EQ(byte_at(8192), 'a');
  wire::Frame thaw;
  thaw.mutable_thaw_file()->set_freeze(freeze_id);
  tool->send(std::move(thaw));
  const Message back = client->recall();
  EXPECT_EQ(back.frame.recall().action(), v1::ACTION_THAW);
  EXPECT_EQ(back.frame.recall().store(), recall.frame.recall().store());
  EXPECT_EQ(status(merge(recall, kSize, 4096)).code(), ERANGE);
  EXPECT_EQ(status(merge(recall, 8192, 4096)).code(), 0);
  EXPECT_EQ(byte_at(8192), 'S');
  client->comply(back.frame.recall());
  const auto answer = tool->next();
  ASSERT_TRUE(answer && answer->frame.has_status());
  EXPECT_EQ(answer->frame.status().code(), 0);
  EXPECT_EQ(status(merge(recall, 8192, 4096)).code(), ENOENT);
}

TEST_F(FreezeTest, AForeignTruncateWaitsForTheThaw) {
  start_with_lease();
  freeze(60000);
  auto other = truncate_by_other(4096);
  ASSERT_TRUE(other->blocked_in(SYS_truncate));
  EXPECT_FALSE(client->next(milliseconds(0)));
  wire::Frame thaw;
  thaw.mutable_thaw_file()->set_freeze(freeze_id);
  tool->send(std::move(thaw));
  for (const auto action : {v1::ACTION_THAW, v1::ACTION_TRIM, v1::ACTION_SETTLE}) {
    const Message next = client->recall();
    EXPECT_EQ(next.frame.recall().action(), action);
    client->comply(next.frame.recall());
  }
  EXPECT_EQ(other->wait(), 0);
}

TEST_F(FreezeTest, AForeignTruncateThawsWhereThePolicySaysSo) {
  start_with_lease({"--freeze-conflict", "thaw"});
  freeze(60000);
  auto other = truncate_by_other(4096);
  for (const auto action : {v1::ACTION_THAW, v1::ACTION_TRIM, v1::ACTION_SETTLE}) {
    const Message next = client->recall();
    EXPECT_EQ(next.frame.recall().action(), action);
    client->comply(next.frame.recall());
  }
  EXPECT_EQ(other->wait(), 0);
}

TEST_F(FreezeTest, TheHoldEndsByItselfAndTheThawSaysSo) {
  start_with_lease();
  freeze(100);
  const Message back = client->recall();
  EXPECT_EQ(back.frame.recall().action(), v1::ACTION_THAW);
  client->comply(back.frame.recall());
  wire::Frame sync;  // behind the thaw on this file
  sync.mutable_sync_file();
  EXPECT_EQ(status(tool->call(std::move(sync), {fd.get()})).code(), 0);
  wire::Frame thaw;
  thaw.mutable_thaw_file()->set_freeze(freeze_id);
  EXPECT_EQ(status(tool->call(std::move(thaw))).code(), ETIMEDOUT);
}

TEST_F(FreezeTest, AToolThatDiesThaws) {
  start_with_lease();
  freeze(60000);
  tool.reset();
  const Message back = client->recall();
  EXPECT_EQ(back.frame.recall().action(), v1::ACTION_THAW);
  client->comply(back.frame.recall());
}

TEST_F(FreezeTest, AFrozenClientThatDiesLosesNothing) {
  start_with_lease();
  const Message recall = freeze(60000);
  EXPECT_EQ(::pwrite(recall.fds[0].get(), "STORE", 5, 8192), 5);
  client.reset();
  wire::Frame thaw;
  thaw.mutable_thaw_file()->set_freeze(freeze_id);
  EXPECT_EQ(status(tool->call(std::move(thaw))).code(), 0);
  // The range is free again: nothing of the dead client's is in the way.
  WireClient(daemon->socket()).lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096);
  EXPECT_EQ(byte_at(8192), 'S');
  EXPECT_EQ(byte_at(4096), 'a');  // a page that was never in the store is not touched
}

TEST_F(FreezeTest, NeedsADescriptorForWriting) {
  start_with_lease();
  const wire::Fd reader(::open(path.c_str(), O_RDONLY));
  wire::Frame f;
  f.mutable_freeze_file()->mutable_range();
  EXPECT_EQ(status(tool->call(std::move(f), {reader.get()})).code(), EACCES);
}

// What peers write under a freeze is memory: it is bounded for who freezes, not for whose lease it is.
TEST_F(FreezeTest, WhatTakesTooMuchMemoryIsThawedByItself) {
  start_with_lease({"--frozen-bytes-max", "8192"});
  const Message recalled = freeze(60000);
  ASSERT_EQ(::pwrite(recalled.fds[0].get(), "SS", 2, 4095), 2);  // two pages: all that it may
  EXPECT_FALSE(client->next(milliseconds(500)));
  ASSERT_EQ(::pwrite(recalled.fds[0].get(), "S", 1, 8192), 1);
  const Message thaw = client->recall();
  EXPECT_EQ(thaw.frame.recall().action(), v1::ACTION_THAW);
  client->comply(thaw.frame.recall());
  wire::Frame late;
  late.mutable_thaw_file()->set_freeze(freeze_id);
  const v1::Status said = status(tool->call(std::move(late)));
  EXPECT_EQ(said.code(), ETIMEDOUT);
  EXPECT_NE(said.message().find("takes 12288 bytes of memory"), std::string::npos) << said.message();
}

// Else a user could have any number of them: by freezing a file, and coming back again and again.
TEST_F(FreezeTest, ALeaseThatOutlivesItsClientUnderAFreezeIsItsUsersUntilTheThaw) {
  start({"--leases-max", "1"});
  auto holder = std::make_unique<WireClient>(daemon->socket());
  const Message granted = holder->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  wire::Frame freeze, thaw;
  freeze.mutable_freeze_file()->set_hold_ms(60000);
  const Message frozen = client->call(freeze, {fd.get()});
  ASSERT_TRUE(frozen.frame.has_frozen());
  ASSERT_EQ(::pwrite(granted.fds[0].get(), "RDMA", 4, 8192), 4);
  holder->hang_up();
  const std::string other = directory->file("other", kSize);
  const wire::Fd elsewhere(::open(other.c_str(), O_RDWR | O_CLOEXEC));
  const auto ask = [&] {
    wire::Frame f;
    f.mutable_register_()->mutable_range()->set_length(kSize);
    f.mutable_register_()->set_backing(v1::BACKING_BOUNCE);
    f.mutable_register_()->set_write(true);
    return status(client->call(std::move(f), {elsewhere.get()})).code();
  };
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(ask(), EDQUOT);
    std::this_thread::sleep_for(milliseconds(20));
  }
  thaw.mutable_thaw_file()->set_freeze(frozen.frame.frozen().freeze());
  EXPECT_EQ(status(client->call(std::move(thaw))).code(), 0);
  for (int i = 0; i < 100 && ask() == EDQUOT; ++i) std::this_thread::sleep_for(milliseconds(20));
  EXPECT_EQ(byte_at(8192), 'R');
  EXPECT_EQ(ask(), EDQUOT) << "it has its one lease now";
}

}  // namespace mrlease::test
