// SPDX-License-Identifier: Apache-2.0
// Who holds what, who waits; pages and filters; mistakes name their field.
#include "tests/integration/admin/fixture.h"

namespace mrlease::test {

using Stub = adm::Admin::Stub;

class AdminLists : public AdminTest {
 protected:
  adm::ListLeasesResponse list(const adm::LeaseFilter& filter) {
    adm::ListLeasesRequest request;
    *request.mutable_filter() = filter;
    return call(&Stub::ListLeases, request);
  }
  std::size_t found(const adm::LeaseFilter& filter) {
    const auto answer = list(filter);
    EXPECT_EQ(answer.total(), static_cast<std::uint64_t>(answer.leases_size()));
    return static_cast<std::size_t>(answer.leases_size());
  }
};

TEST_F(AdminLists, ALeaseIsToldWithItsHolder) {
  serve();
  const std::uint64_t id = lease(v1::BACKING_BOUNCE, 4096, 8192);
  adm::GetLeaseRequest request;
  request.set_id(id);
  const auto told = call(&Stub::GetLease, request);
  EXPECT_EQ(told.id(), id);
  EXPECT_EQ(told.file().path(), path);
  EXPECT_EQ(told.file().inode(), by_key().inode());
  EXPECT_EQ(told.file().device(), by_key().device());
  EXPECT_EQ(told.range().offset(), 4096u);
  EXPECT_EQ(told.range().length(), 8192u);
  EXPECT_EQ(told.on_file_end(), 4096u + 8192u);
  EXPECT_EQ(told.backing(), adm::BACKING_BOUNCE);
  EXPECT_TRUE(told.read());
  EXPECT_TRUE(told.write());
  EXPECT_EQ(told.state(), adm::LEASE_STATE_ACTIVE);
  EXPECT_EQ(told.client().pid(), ::getpid());
  EXPECT_EQ(told.client().uid(), 0u);
  EXPECT_FALSE(told.client().program().empty());
  EXPECT_NE(told.guard(), adm::GUARD_UNSPECIFIED);
  EXPECT_FALSE(told.coverage().empty());
  EXPECT_NEAR(static_cast<double>(told.since().seconds()), static_cast<double>(::time(nullptr)), 30);
  release(id);
  EXPECT_EQ(failure(&Stub::GetLease, request).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(AdminLists, PagesTellEachOnce) {
  serve();
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 5; i++) ids.push_back(lease(v1::BACKING_ODP_TRANSPARENT, i * 4096ull, 4096));
  adm::ListLeasesRequest request;
  request.set_page_size(2);
  auto page = call(&Stub::ListLeases, request);
  ASSERT_EQ(page.leases_size(), 2);
  EXPECT_EQ(page.total(), 5u);
  EXPECT_EQ(page.leases(0).id(), ids[0]);
  EXPECT_EQ(page.leases(1).id(), ids[1]);
  // What has ended meanwhile, behind us and before us, moves nothing.
  release(ids[0]);
  release(ids[2]);
  request.set_page_token(page.next_page_token());
  page = call(&Stub::ListLeases, request);
  ASSERT_EQ(page.leases_size(), 2);
  EXPECT_EQ(page.leases(0).id(), ids[3]);
  EXPECT_EQ(page.leases(1).id(), ids[4]);
  EXPECT_TRUE(page.next_page_token().empty());
  EXPECT_EQ(page.total(), 3u);
}

TEST_F(AdminLists, FilesArePagedToo) {
  serve();
  std::set<std::string> paths, told;
  for (int i = 0; i < 3; i++) {
    const std::string p = directory->file("more" + std::to_string(i), 4096);
    const wire::Fd f(::open(p.c_str(), O_RDWR));
    client->lease(f.get(), v1::BACKING_BOUNCE, 0, 4096);
    paths.insert(p);
  }
  adm::ListFilesRequest request;
  request.set_page_size(2);
  for (int pages = 0; pages < 2; pages++) {
    const auto page = call(&Stub::ListFiles, request);
    for (const auto& file : page.files()) {
      EXPECT_TRUE(told.insert(file.id().path()).second);
      EXPECT_EQ(file.size(), 4096u);
      EXPECT_FALSE(file.filesystem().empty());
      ASSERT_EQ(file.leases_size(), 1);
    }
    request.set_page_token(page.next_page_token());
  }
  EXPECT_TRUE(request.page_token().empty());
  EXPECT_EQ(told, paths);
}

TEST_F(AdminLists, EachFilterLetsItsOwnThrough) {
  serve();
  lease(v1::BACKING_BOUNCE, 0, 4096);
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  Child nobody([&] {
    const int f = ::open(path.c_str(), O_RDWR);
    WireClient other(daemon->socket());
    other.lease(f, v1::BACKING_ODP_TRANSPARENT, 8192, 4096);
    if (::write(ready[1], "x", 1) != 1) return 1;
    ::pause();
    return 0;
  });
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  adm::LeaseFilter filter;
  EXPECT_EQ(found(filter), 2u);
  filter.set_uid(65534);
  EXPECT_EQ(found(filter), 1u);
  EXPECT_EQ(list(filter).leases(0).client().pid(), nobody.pid());
  filter.set_uid(4711);
  EXPECT_EQ(found(filter), 0u);
  filter.Clear();
  filter.set_pid(nobody.pid());
  EXPECT_EQ(found(filter), 1u);
  filter.Clear();
  filter.add_backings(adm::BACKING_BOUNCE);
  EXPECT_EQ(found(filter), 1u);
  filter.add_backings(adm::BACKING_ODP_TRANSPARENT);
  EXPECT_EQ(found(filter), 2u);
  filter.Clear();
  filter.add_states(adm::LEASE_STATE_ACTIVE);
  EXPECT_EQ(found(filter), 2u);
  filter.clear_states();
  filter.add_states(adm::LEASE_STATE_FROZEN);
  EXPECT_EQ(found(filter), 0u);
  filter.Clear();
  *filter.mutable_file() = by_path();
  EXPECT_EQ(found(filter), 2u);
  *filter.mutable_file() = by_key();
  EXPECT_EQ(found(filter), 2u);
  filter.mutable_file()->clear_inode();
  EXPECT_EQ(found(filter), 2u);
  filter.mutable_file()->set_device(by_key().device() + 1);
  EXPECT_EQ(found(filter), 0u);
  filter.mutable_file()->Clear();
  filter.mutable_file()->set_path(directory->file("other", 1));
  EXPECT_EQ(found(filter), 0u);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(AdminLists, AFileShowsWhoWaitsForWhom) {
  serve({"--recall-deadline-ms", "20000"});
  const std::uint64_t id = lease();
  auto other = truncate_by_other(4096);
  const Message trim = client->recall();
  const auto files = call(&Stub::ListFiles, of_file<adm::ListFilesRequest>());
  ASSERT_EQ(files.files_size(), 1);
  const auto& file = files.files(0);
  EXPECT_EQ(file.id().path(), path);
  EXPECT_EQ(file.size(), kSize);
  EXPECT_EQ(file.filesystem(), "ext4");
  ASSERT_EQ(file.leases_size(), 1);
  EXPECT_EQ(file.leases(0).id(), id);
  EXPECT_EQ(file.leases(0).state(), adm::LEASE_STATE_RECALLING);
  ASSERT_EQ(file.leases(0).recalls_size(), 1);
  EXPECT_EQ(file.leases(0).recalls(0), adm::ACTION_TRIM);
  ASSERT_EQ(file.breaks_size(), 1);
  const auto& waiting = file.breaks(0);
  EXPECT_EQ(waiting.kind(), adm::BREAK_KIND_TRUNCATE);
  EXPECT_EQ(waiting.source(), adm::BREAK_SOURCE_FOREIGN);
  EXPECT_EQ(waiting.phase(), adm::BREAK_PHASE_WAITING);
  EXPECT_EQ(waiting.new_size(), 4096u);
  EXPECT_EQ(waiting.by().pid(), other->pid());
  EXPECT_EQ(waiting.by().uid(), 65534u);
  EXPECT_FALSE(waiting.by().program().empty());
  client->comply(trim.frame.recall());
  EXPECT_EQ(other->wait(), 0);
  comply_with(v1::ACTION_SETTLE);
  adm::GetLeaseRequest request;
  request.set_id(id);
  EXPECT_EQ(call(&Stub::GetLease, request).on_file_end(), 4096u);
}

TEST_F(AdminLists, EveryMistakeNamesItsField) {
  serve();
  lease();
  const auto wrong = [](const grpc::Status& status, const std::string& field) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << field << ": " << status.error_message();
    EXPECT_EQ(status.error_message().rfind(field + ": ", 0), 0u) << status.error_message();
  };
  adm::ListLeasesRequest leases;
  leases.set_page_size(1001);
  wrong(failure(&Stub::ListLeases, leases), "page_size");
  leases.Clear();
  leases.set_page_token("nonsense");
  wrong(failure(&Stub::ListLeases, leases), "page_token");
  leases.Clear();
  leases.mutable_filter()->add_backings(static_cast<adm::Backing>(77));
  wrong(failure(&Stub::ListLeases, leases), "filter.backings");
  leases.Clear();
  leases.mutable_filter()->add_states(adm::LEASE_STATE_UNSPECIFIED);
  wrong(failure(&Stub::ListLeases, leases), "filter.states");
  leases.Clear();
  leases.mutable_filter()->set_pid(-1);
  wrong(failure(&Stub::ListLeases, leases), "filter.pid");
  leases.Clear();
  leases.mutable_filter()->mutable_file()->set_path("relative");
  wrong(failure(&Stub::ListLeases, leases), "filter.file.path");
  adm::ListFilesRequest files;
  files.set_page_size(501);
  wrong(failure(&Stub::ListFiles, files), "page_size");
  files.Clear();
  files.set_page_token("x");
  wrong(failure(&Stub::ListFiles, files), "page_token");
  wrong(failure(&Stub::GetLease, adm::GetLeaseRequest()), "id");
  wrong(failure(&Stub::Sync, adm::SyncRequest()), "file");
  adm::FileId half;
  half.set_inode(5);
  wrong(failure(&Stub::Sync, of_file<adm::SyncRequest>(half)), "file.device");
  auto both = by_path();
  both.set_inode(5);
  wrong(failure(&Stub::Sync, of_file<adm::SyncRequest>(both)), "file");
  adm::FileId somewhere;
  somewhere.set_path(directory->path());
  wrong(failure(&Stub::Sync, of_file<adm::SyncRequest>(somewhere)), "file.path");
  auto range = of_file<adm::SyncRequest>();
  range.mutable_range()->set_offset(4096);
  range.mutable_range()->set_length(~0ull);
  wrong(failure(&Stub::Sync, range), "range");
  auto hold = of_file<adm::FreezeRequest>();
  hold.set_hold_ms(60001);
  wrong(failure(&Stub::Freeze, hold), "hold_ms");
  wrong(failure(&Stub::Freeze, adm::FreezeRequest()), "file");
  wrong(failure(&Stub::Thaw, adm::ThawRequest()), "freeze");
  wrong(failure(&Stub::Revoke, adm::RevokeRequest()), "what");
  wrong(failure(&Stub::Drain, adm::DrainRequest()), "path");
  adm::DrainRequest drain;
  drain.set_path("data");
  wrong(failure(&Stub::Drain, drain), "path");
  drain.set_path(path);
  wrong(failure(&Stub::Drain, drain), "path");
  wrong(failure(&Stub::Undrain, adm::UndrainRequest()), "path");
  adm::ProbeRequest probe;
  probe.set_path("here");
  wrong(failure(&Stub::Probe, probe), "path");
  const auto context = until();
  adm::WatchEventsRequest watch;
  watch.add_types("break_doen");
  auto stream = stub->WatchEvents(context.get(), watch);
  adm::WatchEventsResponse event;
  EXPECT_FALSE(stream->Read(&event));
  wrong(stream->Finish(), "types");
}

TEST_F(AdminLists, AFileThatIsNotThereIsNotFound) {
  serve();
  adm::FileId missing;
  missing.set_path(directory->path("missing"));
  EXPECT_EQ(failure(&Stub::Sync, of_file<adm::SyncRequest>(missing)).error_code(), grpc::StatusCode::NOT_FOUND);
  missing.Clear();
  missing.set_device(1);
  missing.set_inode(2);
  EXPECT_EQ(failure(&Stub::Freeze, of_file<adm::FreezeRequest>(missing)).error_code(), grpc::StatusCode::NOT_FOUND);
}

}  // namespace mrlease::test
