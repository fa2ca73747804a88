// SPDX-License-Identifier: Apache-2.0
// Under a service manager: socket activation, readiness, reload, watchdog.
#include <fstream>

#include "tests/integration/daemon/fixture.h"
#include "tests/support/service_manager.h"

namespace mrlease::test {

class ManagerTest : public DaemonTest {
 protected:
  void start_service(std::vector<std::string> options = {}) {
    path = directory->file("data", kSize);
    fd = wire::Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    manager = std::make_unique<ServiceManager>(*directory, std::move(options));
    manager->start();
  }
  std::unique_ptr<ServiceManager> manager;
};

TEST_F(ManagerTest, TheSocketComesFromTheManagerAndStaysItsOwn) {
  start_service();
  EXPECT_GE(manager->count("STATUS=serving " + manager->socket()), 1);
  client = std::make_unique<WireClient>(manager->socket());
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize));
  manager->signal(SIGTERM);
  EXPECT_TRUE(manager->wait_for("STOPPING=1"));
  manager->kill(SIGTERM);
  EXPECT_EQ(::access(manager->socket().c_str(), F_OK), 0) << "the path is the manager's to remove";
}

TEST_F(ManagerTest, AClientThatConnectsBeforeTheDaemonRunsIsServed) {
  path = directory->file("data", kSize);
  manager = std::make_unique<ServiceManager>(*directory);
  Child early([&] {
    WireClient waits(manager->socket());
    return waits.welcome().version() == 0 ? 1 : 0;
  });
  ASSERT_TRUE(early.blocked_in(SYS_poll)) << "it has connected, and waits for its welcome";
  manager->start();
  EXPECT_EQ(early.wait(), 0) << manager->log();
}

TEST_F(ManagerTest, ReloadIsToldAndTakesEffect) {
  const std::string config = directory->path("mrleased.toml");
  std::ofstream(config) << "recall-deadline-ms = 1500\n";
  start_service({"--config", config});
  EXPECT_EQ(WireClient(manager->socket()).welcome().recall_deadline_ms(), 1500u);
  std::ofstream(config) << "recall-deadline-ms = 1700\n";
  manager->signal(SIGHUP);
  ASSERT_TRUE(manager->wait_for("READY=1", 1)) << manager->log();
  EXPECT_EQ(manager->count("RELOADING=1"), 1);
  EXPECT_EQ(WireClient(manager->socket()).welcome().recall_deadline_ms(), 1700u);
  std::ofstream(config) << "recall-deadline = nonsense\n";
  manager->signal(SIGHUP);
  ASSERT_TRUE(manager->wait_for("READY=1", 2)) << manager->log();
  EXPECT_EQ(WireClient(manager->socket()).welcome().recall_deadline_ms(), 1700u) << "a mistake changes nothing";
}

TEST_F(ManagerTest, TheWatchdogHearsOfUs) {
  path = directory->file("data", kSize);
  manager = std::make_unique<ServiceManager>(*directory);
  manager->environment = {{"WATCHDOG_USEC", "200000"}, {"WATCHDOG_PID", "$PID"}};
  manager->start();
  // Every 100 ms, as long as loop and guard go round; the guard's thread answers each before the next is sent.
  EXPECT_TRUE(manager->wait_for("WATCHDOG=1", 5));
}

TEST_F(ManagerTest, WithoutAWatchdogOrAManagerNothingIsAsked) {
  start();
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize));
}

}  // namespace mrlease::test
