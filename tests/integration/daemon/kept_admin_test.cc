// SPDX-License-Identifier: Apache-2.0
// What an administrator has asked for, and what he is told, outlives the daemon.
#include "tests/integration/daemon/kept_fixture.h"

#include <cstdio>
#include <regex>

namespace mrlease::test {

// What mrleasectl prints.
std::string ask_administrator(const TestDirectory& directory, const std::string& words) {
  const std::string command = std::string(MRLEASECTL_BINARY) + " --json --address " + directory.path("admin.sock") + " " + words;
  std::string said;
  FILE* out = ::popen(command.c_str(), "re");
  for (char part[512]; out != nullptr && std::fgets(part, sizeof part, out) != nullptr;) said += part;
  return out != nullptr && ::pclose(out) == 0 ? said : "it failed: " + said;
}

TEST_F(KeptTest, AnAdministratorsFreezeHoldsOverTheRestartToo) {
  start_service();
  connect();
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  const std::string frozen = ask_administrator(*directory, "freeze " + path + " --detach");
  std::smatch id;
  ASSERT_TRUE(std::regex_search(frozen, id, std::regex("\"freeze\": *\"?([0-9]+)"))) << frozen;
  ASSERT_EQ(::pwrite(granted.fds.at(0).get(), "RDMA", 4, 8192), 4);
  auto other = write_by_other();
  ASSERT_TRUE(other->blocked_in(SYS_pwrite64)) << manager->log();
  for (const int signal : {SIGKILL, SIGTERM}) {
    manager->kill(signal);
    manager->start();
    resume();
    EXPECT_TRUE(other->running()) << "after signal " << signal << "\n" << manager->log();
    EXPECT_EQ(byte_at(8192), 'a') << "the file has changed under its freeze";
  }
  const std::string thawed = ask_administrator(*directory, "thaw " + id[1].str());
  EXPECT_EQ(thawed.find("it failed"), std::string::npos) << thawed;
  EXPECT_EQ(other->wait(), 0);
  wire::Frame sync;
  sync.mutable_sync_file();
  EXPECT_EQ(status(client->call(std::move(sync), {fd.get()})).code(), 0);
  EXPECT_EQ(byte_at(8192), 'R');
}

TEST_F(KeptTest, ADrainHoldsOverTheRestartToo) {
  start_service();
  connect();
  const auto refused = [&]() -> std::string {
    try {
      client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
      return "it is granted";
    } catch (const std::runtime_error& refusal) {
      return refusal.what();
    }
  };
  const std::string drained = ask_administrator(*directory, "drain " + directory->path(""));
  EXPECT_NE(drained.find("\"drained\": true"), std::string::npos) << drained;
  EXPECT_NE(refused().find("is being drained"), std::string::npos);
  for (int i = 0; i < 2; i++) {
    replace_daemon();
    resume();
    EXPECT_NE(refused().find("is being drained"), std::string::npos) << manager->log();
  }
  const std::string undrained = ask_administrator(*directory, "undrain " + directory->path(""));
  EXPECT_EQ(undrained.find("it failed"), std::string::npos) << undrained;
  replace_daemon();
  resume();
  EXPECT_TRUE(client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize).frame.has_granted()) << manager->log();
}

TEST_F(KeptTest, WhatWasTakenOverIsCounted) {
  start_service();
  connect();
  const std::uint64_t lease = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize).frame.granted().lease();
  const auto counted = [&](const char* what) {
    const std::string stats = ask_administrator(*directory, "stats");
    std::smatch found;
    return std::regex_search(stats, found, std::regex(what)) ? found[1].str() : stats;
  };
  const char* const leases = "\"backing\": *\"bounce\"[^}]*\\}[^}]*?\"value\": *\"?([0-9]+)";
  EXPECT_EQ(counted(leases), "1");
  replace_daemon();
  resume();
  EXPECT_EQ(counted(leases), "1");
  EXPECT_EQ(status(release(lease)).code(), 0);
  EXPECT_EQ(counted(leases), "0");
}

}  // namespace mrlease::test
