// SPDX-License-Identifier: Apache-2.0
// Drain, probe, numbers and options.
#include <sys/mount.h>

#include <fstream>

#include "tests/integration/admin/fixture.h"

namespace mrlease::test {

using Stub = adm::Admin::Stub;

class AdminHost : public AdminTest {
 protected:
  adm::DrainRequest drain_of(const std::string& where, std::uint32_t timeout_ms = 0) {
    adm::DrainRequest request;
    request.set_path(where);
    request.set_timeout_ms(timeout_ms);
    return request;
  }
  void expect_refused() {
    try {
      lease();
      ADD_FAILURE() << "a lease was granted under a directory that is drained";
    } catch (const std::runtime_error& e) {
      EXPECT_NE(std::string(e.what()).find("is being drained"), std::string::npos) << e.what();
    }
  }
};

TEST_F(AdminHost, DrainEndsTheLeasesOfADirectoryAndGrantsNoNewOnes) {
  serve();
  lease();
  WireClient elsewhere(daemon->socket());
  const TestDirectory other;
  const std::string far = other.file("far", 4096);
  const wire::Fd far_fd(::open(far.c_str(), O_RDWR));
  elsewhere.lease(far_fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096);
  auto asked = later(&Stub::Drain, drain_of(directory->path()));
  const Message recall = client->recall();
  EXPECT_EQ(recall.frame.recall().action(), v1::ACTION_RELEASE);
  expect_refused();
  client->comply(recall.frame.recall());
  const auto [status, answer] = asked.get();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(answer.drained());
  EXPECT_EQ(answer.revoked(), 1u);
  EXPECT_FALSE(elsewhere.next(milliseconds(0)));
  expect_refused();
  adm::UndrainRequest undrain;
  undrain.set_path(directory->path());
  call(&Stub::Undrain, undrain);
  EXPECT_NO_THROW(lease());
  EXPECT_EQ(failure(&Stub::Undrain, undrain).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(AdminHost, ADrainThatDoesNotEndTellsWhatIsLeft) {
  serve({"--recall-deadline-ms", "30000"});
  const std::uint64_t id = lease();
  const auto answer = call(&Stub::Drain, drain_of(directory->path(), 300));
  EXPECT_FALSE(answer.drained());
  ASSERT_EQ(answer.left_size(), 1);
  EXPECT_EQ(answer.left(0).id(), id);
  // The call's own deadline does the same, in time for an answer.
  adm::DrainResponse second;
  const auto status = stub->Drain(until(milliseconds(1500)).get(), drain_of(directory->path()), &second);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(second.left_size(), 1);
  // Not drained, not kept: leases are granted there again.
  const std::string next = directory->file("next", 4096);
  const wire::Fd f(::open(next.c_str(), O_RDWR));
  EXPECT_NO_THROW(WireClient(daemon->socket()).lease(f.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096));
}

TEST_F(AdminHost, AfterADrainAMountCanGo) {
  serve();
  const std::string point = directory->path("mnt");
  ASSERT_EQ(::mkdir(point.c_str(), 0755), 0);
  const std::string image = directory->path("image");
  // Where there is no loop device, memory: what is tested is that nobody holds the mount any more.
  const std::string on_loop = "truncate -s 16M " + image + " && mkfs.ext4 -q " + image + " && mount -o loop " + image + " " + point;
  ASSERT_EQ(std::system((on_loop + " || mount -t tmpfs -o size=16m tmpfs " + point).c_str()), 0);
  const std::string file = point + "/file";
  {
    const wire::Fd f(::open(file.c_str(), O_RDWR | O_CREAT, 0644));
    ASSERT_EQ(::ftruncate(f.get(), 4096), 0);
    client->lease(f.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096);
  }
  EXPECT_EQ(::umount(point.c_str()), -1);
  EXPECT_EQ(errno, EBUSY);
  auto asked = later(&Stub::Drain, drain_of(point));
  comply_with(v1::ACTION_RELEASE);
  EXPECT_TRUE(asked.get().second.drained());
  EXPECT_EQ(::umount(point.c_str()), 0) << std::strerror(errno);
  ::umount2(point.c_str(), MNT_DETACH);
}

TEST_F(AdminHost, ProbeSaysWhatThisHostCanDo) {
  serve();
  adm::ProbeRequest request;
  request.set_path("/proc");
  const auto probe = call(&Stub::Probe, request);
  EXPECT_FALSE(probe.kernel().empty());
  EXPECT_FALSE(probe.guard_text().empty());
  EXPECT_GE(probe.host_size(), 5);
  for (const auto& capability : probe.host()) EXPECT_FALSE(capability.reason().empty()) << capability.name();
  ASSERT_EQ(probe.filesystems_size(), 2);
  const auto& root = probe.filesystems(0);
  EXPECT_TRUE(root.root());
  EXPECT_EQ(root.path(), directory->path());
  EXPECT_TRUE(root.type() == "ext4" || root.type() == "xfs" || root.type() == "btrfs") << root.type();
  EXPECT_EQ(root.guard(), probe.guard());
  const auto& proc = probe.filesystems(1);
  EXPECT_EQ(proc.type(), "proc");
  EXPECT_NE(proc.guard(), adm::GUARD_PRECONTENT);
}

TEST_F(AdminHost, StatsAgreeWithWhatWasDone) {
  serve();
  const std::uint64_t id = lease();
  auto other = truncate_by_other(4096);
  for (const auto action : {v1::ACTION_TRIM, v1::ACTION_SETTLE}) comply_with(action);
  EXPECT_EQ(other->wait(), 0);
  call(&Stub::Sync, of_file<adm::SyncRequest>());
  auto stats = call(&Stub::GetStats, adm::GetStatsRequest());
  EXPECT_EQ(stats.leases(), 1u);
  EXPECT_EQ(stats.files(), 1u);
  EXPECT_GE(stats.sessions(), 1u);
  EXPECT_EQ(stats.leases_granted(), 1u);
  std::map<std::string, std::uint64_t> by_backing, by_kind;
  for (const auto& count : stats.leases_by_backing()) by_backing[count.labels().at("backing")] = count.value();
  EXPECT_EQ(by_backing["odp_transparent"], 1u);
  EXPECT_EQ(by_backing["bounce"], 0u);
  for (const auto& count : stats.breaks())
    by_kind[count.labels().at("kind") + "/" + count.labels().at("source") + "/" + count.labels().at("result")] += count.value();
  EXPECT_EQ(by_kind["truncate/foreign/allowed"], 1u);
  EXPECT_EQ(by_kind["sync/admin/allowed"], 1u);
  ASSERT_EQ(stats.foreign_wait_size(), 1);
  EXPECT_EQ(stats.foreign_wait(0).labels().at("kind"), "truncate");
  EXPECT_EQ(stats.foreign_wait(0).count(), 1u);
  EXPECT_GT(stats.foreign_wait(0).sum_seconds(), 0);
  EXPECT_EQ(stats.recall_time_size(), 2);  // trim, settle
  EXPECT_GT(stats.event_sequence(), 5u);
  release(id);
  stats = call(&Stub::GetStats, adm::GetStatsRequest());
  EXPECT_EQ(stats.leases(), 0u);
  for (const auto& count : stats.leases_by_backing()) EXPECT_EQ(count.value(), 0u);
}

TEST_F(AdminHost, OptionsAreToldWithTheirSource) {
  serve({"--recall-deadline-ms", "1234"});
  const auto config = call(&Stub::GetConfig, adm::GetConfigRequest());
  std::map<std::string, adm::Option> options;
  for (const auto& option : config.options()) options[option.name()] = option;
  ASSERT_EQ(options.count("recall-deadline-ms"), 1u);
  EXPECT_EQ(options["recall-deadline-ms"].source(), "command line");
  ASSERT_EQ(options["recall-deadline-ms"].values_size(), 1);
  EXPECT_EQ(options["recall-deadline-ms"].values(0), "1234");
  EXPECT_EQ(options["recall-deadline-ms"].defaults(0), "2000");
  EXPECT_EQ(options["fence-deadline-ms"].source(), "default");
  EXPECT_EQ(options["root"].values(0), directory->path());
  EXPECT_FALSE(options["fence-deadline-ms"].description().empty());
}

TEST_F(AdminHost, ReloadTakesOverWhatMayChangeAndSaysWhatMayNot) {
  const std::string file = directory->path("mrleased.toml");
  std::ofstream(file) << "recall-deadline-ms = 1500\n";
  serve({"--config", file});
  std::ofstream(file) << "recall-deadline-ms = 1600\nadmin-events-max = 77\n";
  const auto answer = call(&Stub::Reload, adm::ReloadRequest());
  EXPECT_EQ(std::vector<std::string>(answer.changed().begin(), answer.changed().end()), std::vector<std::string>{"recall-deadline-ms"});
  EXPECT_EQ(std::vector<std::string>(answer.needs_restart().begin(), answer.needs_restart().end()), std::vector<std::string>{"admin-events-max"});
  EXPECT_EQ(WireClient(daemon->socket()).welcome().recall_deadline_ms(), 1600u);
  // A mistake changes nothing, and its line is told.
  std::ofstream(file) << "recall-deadline-ms = 1700\nrecal-deadline-ms = 1\n";
  const auto status = failure(&Stub::Reload, adm::ReloadRequest());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_NE(status.error_message().find("mrleased.toml:2:"), std::string::npos) << status.error_message();
  EXPECT_EQ(WireClient(daemon->socket()).welcome().recall_deadline_ms(), 1600u);
}

TEST_F(AdminHost, ADryRunTellsWhatAReloadWouldDoToTheLeasesOfNow) {
  const std::string file = directory->path("mrleased.toml"), other = directory->path("other");
  std::ofstream(file) << "recall-deadline-ms = 1500\n";
  serve({"--config", file});
  std::ofstream(other) << std::string(8192, 'x');
  WireClient owner(daemon->socket());
  const wire::Fd ours(::open(path.c_str(), O_RDWR | O_CLOEXEC)), theirs(::open(other.c_str(), O_RDWR | O_CLOEXEC));
  const auto changed = owner.lease(ours.get(), v1::BACKING_DIRECT, 0, 4096).frame.granted().lease();
  const auto refused = owner.lease(theirs.get(), v1::BACKING_DIRECT, 0, 4096).frame.granted().lease();
  ASSERT_NE(changed, 0u);
  ASSERT_NE(refused, 0u);
  adm::ReloadRequest dry;
  dry.set_dry_run(true);
  EXPECT_EQ(call(&Stub::Reload, dry).leases_total(), 0u);
  std::ofstream(file) << "recall-deadline-ms = 1500\nadmin-events-max = 77\n[[rule]]\npath = \"" << path
                      << "\"\nrecall-deadline-ms = 700\non-timeout = \"kill\"\nwriteback-interval-ms = 5000\n[[rule]]\npath = \"" << other << "\"\nleases = \"none\"\n";
  const auto answer = call(&Stub::Reload, dry);
  EXPECT_EQ(std::vector<std::string>(answer.changed().begin(), answer.changed().end()), std::vector<std::string>{"rule"});
  EXPECT_EQ(std::vector<std::string>(answer.needs_restart().begin(), answer.needs_restart().end()), std::vector<std::string>{"admin-events-max"});
  ASSERT_EQ(answer.leases_size(), 2);
  EXPECT_EQ(answer.leases(0).lease(), changed);
  EXPECT_EQ(answer.leases(0).now().rule(), 0u);
  EXPECT_EQ(answer.leases(0).now().recall_deadline().nanos(), 500'000'000);
  EXPECT_EQ(answer.leases(0).then().rule(), 1u);
  EXPECT_EQ(answer.leases(0).then().recall_deadline().nanos(), 700'000'000);
  EXPECT_EQ(answer.leases(0).then().on_timeout(), adm::ON_TIMEOUT_KILL);
  EXPECT_FALSE(answer.leases(0).now().has_writeback_interval());
  EXPECT_EQ(answer.leases(0).then().writeback_interval().seconds(), 5);
  EXPECT_TRUE(answer.leases(0).refused().empty());
  EXPECT_EQ(answer.leases(1).lease(), refused);
  EXPECT_NE(answer.leases(1).refused().find("allows no lease"), std::string::npos) << answer.leases(1).refused();
  // Nothing has changed.
  adm::GetLeaseRequest which;
  which.set_id(changed);
  EXPECT_EQ(call(&Stub::GetLease, which).rule(), 0u);
  call(&Stub::Reload, adm::ReloadRequest());
  EXPECT_EQ(call(&Stub::GetLease, which).rule(), 1u);
  EXPECT_EQ(call(&Stub::Reload, dry).leases_size(), 1) << "the one that would not be granted goes on";
  // What only the client's library keeps to is no matter of a direct lease.
  const auto on_demand = owner.lease(ours.get(), v1::BACKING_ODP_TRANSPARENT, 4096, 4096).frame.granted().lease();
  std::ofstream(file) << "recall-deadline-ms = 1500\n[[rule]]\npath = \"" << path << "\"\nrecall-deadline-ms = 700\non-timeout = \"kill\"\n"
                      << "writeback-interval-ms = 5000\norphans = \"discard\"\npeer-budget-ms = 40\n";
  const auto limited = call(&Stub::Reload, dry);
  ASSERT_EQ(limited.leases_size(), 1);
  EXPECT_EQ(limited.leases(0).lease(), on_demand);
  EXPECT_FALSE(limited.leases(0).now().discard_orphans());
  EXPECT_TRUE(limited.leases(0).then().discard_orphans());
  EXPECT_EQ(limited.leases(0).then().peer_budget_max().nanos(), 40'000'000);
  EXPECT_FALSE(limited.leases(0).then().has_orphan_keep_max());
}

}  // namespace mrlease::test
