// SPDX-License-Identifier: Apache-2.0
// Events: in order, resumable, and a reader that is too slow is told so.
#include "tests/integration/admin/fixture.h"

namespace mrlease::test {

using Stub = adm::Admin::Stub;

class AdminWatch : public AdminTest {
 protected:
  struct Stream {
    std::unique_ptr<grpc::ClientContext> context = until(milliseconds(60000));
    std::unique_ptr<grpc::ClientReader<adm::WatchEventsResponse>> reader;
    adm::WatchEventsResponse first;
    ~Stream() { context->TryCancel(); }
    adm::Event next() {
      adm::WatchEventsResponse message;
      EXPECT_TRUE(reader->Read(&message)) << reader->Finish().error_message();
      return message.event();
    }
  };
  std::unique_ptr<Stream> watch(const adm::WatchEventsRequest& request = {}) {
    auto stream = std::make_unique<Stream>();
    stream->reader = stub->WatchEvents(stream->context.get(), request);
    EXPECT_TRUE(stream->reader->Read(&stream->first));
    EXPECT_FALSE(stream->first.has_event());
    return stream;
  }
  void truncate_with_a_good_client() {
    auto other = truncate_by_other(4096);
    for (const auto action : {v1::ACTION_TRIM, v1::ACTION_SETTLE}) comply_with(action);
    EXPECT_EQ(other->wait(), 0);
  }
};

TEST_F(AdminWatch, ATruncateIsToldFromBeginningToEnd) {
  serve();
  auto stream = watch();
  const std::uint64_t id = lease();
  const auto granted = stream->next();
  ASSERT_TRUE(granted.has_lease_granted());
  EXPECT_EQ(granted.lease_granted().id(), id);
  EXPECT_EQ(granted.sequence(), stream->first.head() + 1);
  auto other = truncate_by_other(4096);
  for (const auto action : {v1::ACTION_TRIM, v1::ACTION_SETTLE}) comply_with(action);
  EXPECT_EQ(other->wait(), 0);
  std::vector<int> seen;
  adm::Event event;
  for (std::uint64_t sequence = granted.sequence(); seen.empty() || seen.back() != adm::Event::kBreakDone;) {
    event = stream->next();
    EXPECT_EQ(event.sequence(), ++sequence);
    seen.push_back(event.what_case());
  }
  EXPECT_EQ(seen, (std::vector<int>{adm::Event::kBreakBegun, adm::Event::kRecalled, adm::Event::kRecallAnswered, adm::Event::kRecalled,
                                    adm::Event::kRecallAnswered, adm::Event::kBreakDone}));
  const auto& done = event.break_done();
  EXPECT_EQ(done.result(), adm::BREAK_RESULT_ALLOWED);
  EXPECT_EQ(done.break_().kind(), adm::BREAK_KIND_TRUNCATE);
  EXPECT_EQ(done.break_().by().pid(), other->pid());
  EXPECT_EQ(done.break_().by().uid(), 65534u);
  EXPECT_EQ(done.break_().file().path(), path);
  EXPECT_GT(done.waited().nanos(), 0);
  EXPECT_GE(done.took().nanos(), done.waited().nanos());
  ASSERT_EQ(done.recalled_size(), 2);
  EXPECT_EQ(done.recalled(0).lease(), id);
  EXPECT_EQ(done.recalled(0).action(), adm::ACTION_TRIM);
  EXPECT_EQ(done.recalled(0).client().pid(), ::getpid());
  EXPECT_GT(done.recalled(0).took().nanos(), 0);
  EXPECT_EQ(done.recalled(1).action(), adm::ACTION_SETTLE);
  release(id);
  const auto ended = stream->next();
  ASSERT_TRUE(ended.has_lease_ended());
  EXPECT_EQ(ended.lease_ended().reason(), "released");
}

TEST_F(AdminWatch, AWatchIsResumedWhereItEnded) {
  serve();
  std::uint64_t last = 0;
  std::string epoch;
  {
    auto stream = watch();
    epoch = stream->first.epoch();
    const std::uint64_t id = lease();
    last = stream->next().sequence();
    release(id);
  }
  const std::uint64_t second = lease();
  adm::WatchEventsRequest request;
  request.set_after_sequence(last);
  auto stream = watch(request);
  EXPECT_EQ(stream->first.epoch(), epoch);
  const auto ended = stream->next();
  EXPECT_EQ(ended.sequence(), last + 1);
  EXPECT_TRUE(ended.has_lease_ended());
  const auto granted = stream->next();
  EXPECT_EQ(granted.lease_granted().id(), second);
}

TEST_F(AdminWatch, WhatIsNoLongerKeptIsOutOfRange) {
  serve({"--admin-events-max", "4"});
  for (int i = 0; i < 4; i++) release(lease());
  for (const std::uint64_t after : {0ull, 1000000ull}) {
    adm::WatchEventsRequest request;
    request.set_after_sequence(after);
    const auto context = until();
    auto reader = stub->WatchEvents(context.get(), request);
    adm::WatchEventsResponse message;
    EXPECT_FALSE(reader->Read(&message));
    const auto status = reader->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
    EXPECT_EQ(status.error_message().rfind("after_sequence: ", 0), 0u) << status.error_message();
  }
}

TEST_F(AdminWatch, ASlowReaderIsToldFromWhereToGoOn) {
  serve({"--admin-events-max", "6000"});
  auto stream = watch();
  // More than gRPC's windows and both sides' buffers hold: it is not read meanwhile. 9000 events: whenever the daemon finds
  // that 6000 were missed, what it then says is kept to the end of this loop.
  for (int i = 0; i < 4500; i++) release(lease(v1::BACKING_ODP_TRANSPARENT, 0, 4096));
  adm::WatchEventsResponse message;
  std::uint64_t last = stream->first.head();
  while (stream->reader->Read(&message)) last = message.event().sequence();
  const auto status = stream->reader->Finish();
  ASSERT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_NE(status.error_message().find("events " + std::to_string(last + 1) + " to "), std::string::npos) << status.error_message();
  const std::string words = "go on with after_sequence ";
  const auto at = status.error_message().find(words);
  ASSERT_NE(at, std::string::npos) << status.error_message();
  adm::WatchEventsRequest request;
  request.set_after_sequence(std::stoull(status.error_message().substr(at + words.size())));
  EXPECT_GT(request.after_sequence(), last);
  EXPECT_EQ(watch(request)->next().sequence(), request.after_sequence() + 1);
}

// It would hold what was made for it for ever, and is not told: what comes first is in the way.
TEST_F(AdminWatch, OneThatNeverReadsIsDropped) {
  serve({"--admin-events-max", "100"});
  auto stream = watch();
  EXPECT_EQ(call(&Stub::GetStats, adm::GetStatsRequest()).watchers(), 1u);
  for (int i = 0; i < 4500; i++) release(lease(v1::BACKING_ODP_TRANSPARENT, 0, 4096));
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (call(&Stub::GetStats, adm::GetStatsRequest()).watchers() != 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), end) << "it is still there";
    release(lease(v1::BACKING_ODP_TRANSPARENT, 0, 4096));
  }
  adm::WatchEventsResponse message;
  while (stream->reader->Read(&message)) {
  }
  // Which, depends on whether gRPC could still take the message before it.
  const auto code = stream->reader->Finish().error_code();
  EXPECT_TRUE(code == grpc::StatusCode::CANCELLED || code == grpc::StatusCode::RESOURCE_EXHAUSTED) << code;
}

TEST_F(AdminWatch, NoMoreThan256Watch) {
  serve();
  std::vector<std::unique_ptr<Stream>> watchers;
  for (int i = 0; i < 256; i++) watchers.push_back(watch());
  const auto context = until();
  auto one_more = stub->WatchEvents(context.get(), {});
  adm::WatchEventsResponse message;
  EXPECT_FALSE(one_more->Read(&message));
  EXPECT_EQ(one_more->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_GT(lease(), 0u);  // the daemon goes on
}

TEST_F(AdminWatch, TypesAndFilesAreFiltered) {
  serve();
  adm::WatchEventsRequest request;
  request.add_types("break_done");
  *request.mutable_file() = by_path();
  auto stream = watch(request);
  const std::string elsewhere = directory->file("elsewhere", 4096);
  adm::FileId id;
  id.set_path(elsewhere);
  call(&Stub::Sync, of_file<adm::SyncRequest>(id));
  lease();
  truncate_with_a_good_client();
  const auto event = stream->next();
  ASSERT_TRUE(event.has_break_done());
  EXPECT_EQ(event.break_done().break_().kind(), adm::BREAK_KIND_TRUNCATE);
  EXPECT_EQ(event.break_done().break_().file().path(), path);
}

}  // namespace mrlease::test
