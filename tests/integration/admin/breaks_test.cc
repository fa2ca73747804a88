// SPDX-License-Identifier: Apache-2.0
// Sync, freeze, thaw and revoke by an administrator: what clients are asked, and what is left behind by one who goes away.
#include "tests/integration/admin/fixture.h"
#include "tests/support/hung_fuse.h"

namespace mrlease::test {

using Stub = adm::Admin::Stub;

class AdminBreaks : public AdminTest {
 protected:
  adm::FreezeRequest freeze_for(std::uint32_t hold_ms) {
    auto request = of_file<adm::FreezeRequest>();
    request.set_hold_ms(hold_ms);
    return request;
  }
  adm::Lease get(std::uint64_t id) {
    adm::GetLeaseRequest request;
    request.set_id(id);
    return call(&Stub::GetLease, request);
  }
};

TEST_F(AdminBreaks, SyncBringsBouncePagesToTheFile) {
  serve();
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  ASSERT_EQ(granted.fds.size(), 1u);
  ASSERT_EQ(::pwrite(granted.fds[0].get(), "RDMA", 4, 4096), 4);
  const auto answer = call(&Stub::Sync, of_file<adm::SyncRequest>());
  EXPECT_EQ(answer.leases(), 1u);
  EXPECT_EQ(byte_at(4096), 'R');
  EXPECT_EQ(get(granted.frame.granted().lease()).pages_written(), 1u);
  // By its key as well; and a file that nobody leases.
  EXPECT_EQ(call(&Stub::Sync, of_file<adm::SyncRequest>(by_key())).leases(), 1u);
  adm::FileId other;
  other.set_path(directory->file("plain", 4096));
  EXPECT_EQ(call(&Stub::Sync, of_file<adm::SyncRequest>(other)).leases(), 0u);
}

TEST_F(AdminBreaks, WhatThePolicyWantsOnTheDiskNobodyHasToAskFor) {
  serve({"--writeback-interval-ms", "300"});
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  ASSERT_EQ(granted.fds.size(), 1u);
  const std::uint64_t id = granted.frame.granted().lease();
  EXPECT_EQ(get(id).writeback_interval().nanos(), 300'000'000);
  for (std::uint64_t rounds = 1; rounds <= 3; ++rounds) {  // not only the first time
    ASSERT_EQ(::pwrite(granted.fds[0].get(), &"xyz"[rounds - 1], 1, 4096), 1);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (get(id).pages_written() < rounds && std::chrono::steady_clock::now() < deadline) continue;
    EXPECT_EQ(get(id).pages_written(), rounds);
  }
  EXPECT_EQ(get(id).breaks(), 0u) << "the client was not asked for anything";
}

TEST_F(AdminBreaks, AFreezeHoldsUntilItsThaw) {
  serve();
  const std::uint64_t id = lease();
  auto asked = later(&Stub::Freeze, freeze_for(60000));
  comply_with(v1::ACTION_FREEZE);
  const auto [status, frozen] = asked.get();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(frozen.leases(), 1u);
  EXPECT_EQ(frozen.hold_ms(), 60000u);
  EXPECT_EQ(get(id).state(), adm::LEASE_STATE_FROZEN);
  const auto files = call(&Stub::ListFiles, of_file<adm::ListFilesRequest>());
  ASSERT_EQ(files.files(0).breaks_size(), 1);
  EXPECT_EQ(files.files(0).breaks(0).phase(), adm::BREAK_PHASE_HOLDING);
  EXPECT_EQ(files.files(0).breaks(0).source(), adm::BREAK_SOURCE_ADMIN);
  EXPECT_GT(files.files(0).breaks(0).hold_left().seconds(), 30);
  auto other = truncate_by_other(4096);
  ASSERT_TRUE(other->blocked_in(SYS_truncate));
  adm::ThawRequest thaw;
  thaw.set_freeze(frozen.freeze());
  auto thawing = later(&Stub::Thaw, thaw);
  for (const auto action : {v1::ACTION_THAW, v1::ACTION_TRIM, v1::ACTION_SETTLE}) comply_with(action);
  EXPECT_TRUE(thawing.get().first.ok());
  EXPECT_EQ(other->wait(), 0);
  EXPECT_EQ(failure(&Stub::Thaw, thaw).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(AdminBreaks, AClientsFreezeCanBeThawed) {
  serve();
  lease();
  WireClient tool(daemon->socket());
  wire::Frame f;
  f.mutable_freeze_file()->mutable_range();
  f.mutable_freeze_file()->set_hold_ms(60000);
  tool.send(std::move(f), {fd.get()});
  comply_with(v1::ACTION_FREEZE);
  const auto answer = tool.next();
  ASSERT_TRUE(answer && answer->frame.has_frozen());
  adm::ThawRequest thaw;
  thaw.set_freeze(answer->frame.frozen().freeze());
  auto thawing = later(&Stub::Thaw, thaw);
  comply_with(v1::ACTION_THAW);
  EXPECT_TRUE(thawing.get().first.ok());
}

TEST_F(AdminBreaks, AFreezeThatAHungClientHoldsUpEndsAtTheDeadline) {
  serve({"--recall-deadline-ms", "30000"});
  lease();
  auto asked = later(&Stub::Freeze, freeze_for(60000), milliseconds(500));
  const Message freeze = client->recall();
  EXPECT_EQ(freeze.frame.recall().action(), v1::ACTION_FREEZE);
  EXPECT_EQ(asked.get().first.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  // The client comes after all: it is thawed at once, and the file is free.
  client->comply(freeze.frame.recall());
  comply_with(v1::ACTION_THAW);
  auto other = truncate_by_other(4096);
  for (const auto action : {v1::ACTION_TRIM, v1::ACTION_SETTLE}) comply_with(action);
  EXPECT_EQ(other->wait(), 0);
}

TEST_F(AdminBreaks, ACancelledFreezeIsThawed) {
  serve();
  lease();
  grpc::ClientContext context;
  auto asked = std::async(std::launch::async, [&] {
    adm::FreezeResponse response;
    return stub->Freeze(&context, freeze_for(60000), &response);
  });
  const Message freeze = client->recall();
  context.TryCancel();
  EXPECT_EQ(asked.get().error_code(), grpc::StatusCode::CANCELLED);
  // On the same connection, behind the cancellation: an answer that crosses it on the wire would be a freeze that holds.
  for (int i = 0; i < 3; i++) call(&Stub::GetStats, adm::GetStatsRequest());
  client->comply(freeze.frame.recall());
  comply_with(v1::ACTION_THAW);
}

TEST_F(AdminBreaks, HoldFreezeEndsWithItsStream) {
  serve();
  lease();
  {
    const auto context = until();
    auto stream = stub->HoldFreeze(context.get(), freeze_for(60000));
    comply_with(v1::ACTION_FREEZE);
    adm::HoldFreezeResponse message;
    ASSERT_TRUE(stream->Read(&message));
    EXPECT_EQ(message.holds().leases(), 1u);
    context->TryCancel();
    EXPECT_FALSE(stream->Read(&message));
    stream->Finish();
  }
  comply_with(v1::ACTION_THAW);
}

TEST_F(AdminBreaks, HoldFreezeTellsThatItsHoldHasPassed) {
  serve();
  lease();
  const auto context = until();
  auto stream = stub->HoldFreeze(context.get(), freeze_for(100));
  comply_with(v1::ACTION_FREEZE);
  adm::HoldFreezeResponse message;
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_TRUE(message.has_holds());
  comply_with(v1::ACTION_THAW);
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_TRUE(message.over());
  EXPECT_EQ(message.reason(), "its hold has passed");
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(AdminBreaks, RevokeTakesOneLeaseAndLeavesItsNeighbour) {
  serve();
  const std::uint64_t mine = lease(v1::BACKING_ODP_TRANSPARENT, 0, kSize, true);
  WireClient neighbour(daemon->socket());
  const std::uint64_t other = neighbour.lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize, true, true).frame.granted().lease();
  adm::RevokeRequest request;
  request.set_lease(mine);
  auto asked = later(&Stub::Revoke, request);
  const Message recall = comply_with(v1::ACTION_RELEASE);
  EXPECT_EQ(recall.frame.recall().lease(), mine);
  const auto [status, answer] = asked.get();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(answer.revoked(), 1u);
  EXPECT_EQ(answer.fenced(), 0u);
  EXPECT_FALSE(neighbour.next(milliseconds(0)));
  EXPECT_EQ(get(other).state(), adm::LEASE_STATE_ACTIVE);
  EXPECT_EQ(failure(&Stub::Revoke, request).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(AdminBreaks, RevokeOfAFileFencesWhoDoesNotComply) {
  serve({"--recall-deadline-ms", "1500", "--fence-deadline-ms", "1000"});
  lease(v1::BACKING_ODP_TRANSPARENT, 0, 4096);
  lease(v1::BACKING_ODP_TRANSPARENT, 4096, 4096);
  adm::RevokeRequest request;
  *request.mutable_file() = by_path();
  auto asked = later(&Stub::Revoke, request);
  for (int i = 0; i < 2; i++) {
    const Message recall = client->recall();
    EXPECT_EQ(recall.frame.recall().action(), v1::ACTION_RELEASE);
    if (i == 0) client->comply(recall.frame.recall());  // and not the second
  }
  const auto [status, answer] = asked.get();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(answer.revoked(), 2u);
  EXPECT_EQ(answer.fenced(), 1u);
  EXPECT_TRUE(daemon->says("was fenced (recall_timeout)")) << daemon->log();
}

// A path whose file system does not answer costs its own call: with its deadline, and nobody else's.
TEST_F(AdminBreaks, APathThatHangsHoldsNobodyElseUp) {
  serve();
  const std::uint64_t id = lease(v1::BACKING_BOUNCE);
  HungFuse fuse(directory->path("fuse"));
  fuse.hang();
  adm::FileId hung;
  hung.set_path(directory->path("fuse/file"));
  const milliseconds brief(200);
  adm::DrainRequest drain;
  drain.set_path(directory->path("fuse"));
  adm::ProbeRequest probe;
  probe.set_path(directory->path("fuse/file"));
  const auto late = [](const grpc::Status& status) { return status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED; };
  EXPECT_TRUE(late(failure(&Stub::Sync, of_file<adm::SyncRequest>(hung), brief)));
  EXPECT_TRUE(late(failure(&Stub::Freeze, of_file<adm::FreezeRequest>(hung), brief)));
  EXPECT_TRUE(late(failure(&Stub::Revoke, of_file<adm::RevokeRequest>(hung), brief)));
  EXPECT_TRUE(late(failure(&Stub::ListFiles, of_file<adm::ListFilesRequest>(hung), brief)));
  EXPECT_TRUE(late(failure(&Stub::Probe, probe, brief)));
  EXPECT_TRUE(late(failure(&Stub::Drain, drain, brief)));
  EXPECT_EQ(call(&Stub::Sync, of_file<adm::SyncRequest>()).leases(), 1u);
  // As many as may hang; then they are told so at once, and what needs no path goes on.
  std::vector<std::future<std::pair<grpc::Status, adm::SyncResponse>>> waiting;
  for (int i = 0; i < 80; i++) waiting.push_back(later(&Stub::Sync, of_file<adm::SyncRequest>(hung), milliseconds(1500)));
  int told = 0;
  for (auto& each : waiting) told += each.get().first.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED;
  EXPECT_GT(told, 0);
  EXPECT_EQ(failure(&Stub::Probe, probe).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(failure(&Stub::Drain, drain).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(call(&Stub::Sync, of_file<adm::SyncRequest>(by_key())).leases(), 1u);
  EXPECT_EQ(get(id).id(), id);
  EXPECT_EQ(status(release(id)).code(), 0);
  EXPECT_NO_THROW(WireClient(daemon->socket()).lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize)) << "a client that is new";
}

}  // namespace mrlease::test
