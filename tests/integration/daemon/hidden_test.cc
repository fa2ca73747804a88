// SPDX-License-Identifier: Apache-2.0
// Processes that make whoever looks at them wait, for as long as they like: the daemon and its successor serve all others, and them.
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <vector>

#include "tests/integration/daemon/kept_fixture.h"
#include "tests/support/foreign.h"
#include "tests/support/hidden_process.h"
#include "tests/support/hung_fuse.h"
#include "tests/support/sharer.h"

namespace mrlease::test {

class HiddenTest : public KeptTest {
 protected:
  HiddenProcess hide(const Foreign& process) { return HiddenProcess(directory->path("hides"), process.pid()); }
};

TEST_F(HiddenTest, WhatHeDoesIsHeldAndGoesOnAndSoDoesWhatOthersDo) {
  path = directory->file("data", kSize);
  Foreign hidden({[this] { return outcome(::truncate(path.c_str(), kSize / 2)); }});
  const auto obedient = obey(v1::BACKING_BOUNCE);
  const HiddenProcess hides = hide(hidden);
  hidden.next();
  EXPECT_EQ(hidden.result(), 0) << manager->log();
  EXPECT_EQ(size(), kSize / 2);
  EXPECT_EQ(truncate_to(4096)->wait(), 0) << manager->log();
  EXPECT_TRUE(manager->says("held: truncate by " + std::to_string(hidden.pid()))) << manager->log();
  EXPECT_EQ(obedient->release(), 0);
}

TEST_F(HiddenTest, WhoGoesOnUnderASuccessorHoldsUpNobodyElse) {
  options = {"--passing-bound-ms", "100"};
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  std::optional<Foreign> inside(std::in_place, std::vector<Foreign::Step>{[] { return outcome(::pause()); }});
  inside->next();
  ASSERT_TRUE(inside->blocked_in(SYS_pause));
  manager->kill(SIGKILL);
  pretend_it_was_inside(inside->pid());
  std::optional<HiddenProcess> hides(std::in_place, directory->path("hides"), inside->pid());
  manager->start();
  resume();
  const auto revoked = client->recall().frame.recall();
  EXPECT_EQ(revoked.action(), v1::ACTION_RELEASE) << manager->log();
  client->comply(revoked);
  client->send(to_register(v1::BACKING_ODP_TRANSPARENT, 0, 16384), {fd.get()});
  EXPECT_EQ(truncate_to(16384)->wait(), 0) << manager->log();
  EXPECT_FALSE(client->next(std::chrono::milliseconds(300))) << "a lease under an operation that may run still";
  hides.reset();
  inside.reset();  // killed
  const auto m = client->next();
  EXPECT_TRUE(m && m->frame.has_granted()) << manager->log();
}

TEST_F(HiddenTest, AsAClientHeGetsWhatHeAsksForAndSoDoOthers) {
  start_service();
  const std::string other = directory->file("other", kSize);
  int opened = -1;
  Foreign hidden({[&] { return (opened = ::open(other.c_str(), O_RDWR)) < 0 ? errno : 0; },
                  [&] {
                    WireClient asks(manager->socket());
                    const auto granted = asks.lease(opened, v1::BACKING_BOUNCE, 0, kSize).frame.granted();
                    wire::Frame f;
                    f.mutable_release()->set_lease(granted.lease());
                    return static_cast<int>(asks.call(std::move(f)).frame.status().code());
                  }});
  hidden.next();
  ASSERT_EQ(hidden.result(), 0);
  const HiddenProcess hides = hide(hidden);
  hidden.next();
  EXPECT_EQ(hidden.result(), 0) << manager->log();
  connect();
  const auto granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize).frame.granted();
  EXPECT_EQ(release(granted.lease()).frame.status().code(), 0);
}

// What the kernel tells of an epoll descriptor waits for who is inside it, also where it is the daemon's own by now.
TEST_F(HiddenTest, ADescriptorOfHisThatWaitsIsRefused) {
  start_service();
  std::optional<HungFuse> fuse(std::in_place, directory->path("hung"));
  wire::Fd served = fuse->open_file();
  int epoll = -1;
  void* page = nullptr;
  std::optional<Sharer> inside;
  Foreign hidden({[&] {
                    page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, served.get(), 0);
                    epoll = ::epoll_create1(0);
                    epoll_event event{};
                    event.events = EPOLLIN;
                    return page == MAP_FAILED ? errno : outcome(::epoll_ctl(epoll, EPOLL_CTL_ADD, ::eventfd(1, 0), &event));
                  },
                  [&] {
                    inside.emplace([&] { return outcome(::epoll_wait(epoll, static_cast<epoll_event*>(page), 1, -1)); });
                    inside->wait_asleep();
                    WireClient asks(manager->socket());
                    asks.send(to_register(v1::BACKING_BOUNCE, 0, kSize), {epoll});
                    const auto answer = asks.next();
                    return answer ? static_cast<int>(answer->frame.status().code()) : -1;
                  }},
                 served.get());
  struct Release {
    std::optional<HungFuse>* fuse;
    ~Release() { fuse->reset(); }
  } const at_the_end{&fuse};
  hidden.next();
  ASSERT_EQ(hidden.result(), 0);
  served = wire::Fd();
  fuse->hang();
  hidden.next();
  EXPECT_EQ(hidden.result(), ENOTSUP) << manager->log();
  connect();
  const auto granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize).frame.granted();
  EXPECT_EQ(this->release(granted.lease()).frame.status().code(), 0);
}

}  // namespace mrlease::test
