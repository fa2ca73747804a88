// SPDX-License-Identifier: Apache-2.0
// kill -9 of the daemon between the kernel's hand-over of an operation and the daemon's own note of it: somebody may be held of whom nobody
// knows. Every lease gets out of his way once, and meanwhile the daemon goes on.
#include "tests/integration/daemon/kept_fixture.h"

namespace mrlease::test {

using std::chrono::milliseconds;

class UnnotedTest : public KeptTest {
 protected:
  // What the daemon that was killed holds, it had read and not noted.
  void forget_what_is_held() {
    const auto memory = kept_memory("journal", guard::Journal::bytes());
    ASSERT_NE(memory.get(), MAP_FAILED);
    guard::Journal journal(memory.get());
    const auto held = journal.orphans();
    ASSERT_EQ(held.size(), 1u);
    journal.answered(held[0].number);
    number = held[0].number;
    pretend_it_was_reading();
  }
  std::vector<int> held_numbers() {
    const auto memory = kept_memory("journal", guard::Journal::bytes());
    std::vector<int> numbers;
    for (const guard::Orphan& each : guard::Journal(memory.get()).orphans()) numbers.push_back(each.number);
    return numbers;
  }
  // Its file system is armed by the lease that there is: operations through it can be held, the daemon's own as well.
  wire::Fd armed(const std::string& file) { return wire::Fd(::open(file.c_str(), O_RDWR | O_CLOEXEC)); }
  std::unique_ptr<Child> read_by_other(const std::string& file) {
    return std::make_unique<Child>([file] {
      const wire::Fd own(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
      char c = 0;
      return own.get() < 0 ? errno : ::pread(own.get(), &c, 1, 0) == 1 ? 0 : errno;
    });
  }

  // What the predecessor had asked for is undone, then every lease gets out of the way.
  void let_it_go(Child* held) {
    const Message settle = client->recall();
    ASSERT_EQ(settle.frame.recall().action(), v1::ACTION_SETTLE) << manager->log();
    client->comply(settle.frame.recall());
    const Message trim = client->recall();
    ASSERT_EQ(trim.frame.recall().action(), v1::ACTION_TRIM) << manager->log();
    EXPECT_TRUE(held->running());
    EXPECT_EQ(size(), kSize);
    client->comply(trim.frame.recall());
    EXPECT_EQ(held->wait(), 0) << manager->log();
  }

  int number = -1;  // of what is held without a note
};

TEST_F(UnnotedTest, EveryLeaseGetsOutOfTheWayOnce) {
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  auto other = truncate_to(4096);
  const Message trim = client->recall();
  manager->kill(SIGKILL);
  pretend_it_was_reading();
  manager->start();
  resume();
  // What was noted, and what was not, need the same lease: one after the other, and each ends.
  int trims = 0;
  while (const auto m = client->next(milliseconds(trims == 2 ? 700 : 10000))) {
    if (!m->frame.has_recall()) continue;
    trims += m->frame.recall().action() == v1::ACTION_TRIM;
    if (trims == 0) {
      EXPECT_EQ(size(), kSize);
    }
    client->comply(m->frame.recall());
  }
  EXPECT_EQ(trims, 2) << manager->log();
  EXPECT_EQ(other->wait(), 0) << manager->log();
  EXPECT_EQ(size(), 4096u);
  auto next = truncate_to(0);  // and events are read again
  client->comply(client->recall().frame.recall());
  EXPECT_EQ(next->wait(), 0) << manager->log();
}

TEST_F(UnnotedTest, AFreezeHoldsNobodyUp) {
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  ask_freeze();
  client->comply(client->recall().frame.recall());
  ASSERT_TRUE(client->next()->frame.has_frozen());
  manager->kill(SIGKILL);
  pretend_it_was_reading();
  manager->start();
  resume();
  auto reader = foreign([](const char* p) {
    const int g = ::open(p, O_RDONLY);
    char c;
    return ::pread(g, &c, 1, 0) == 1 ? 0 : errno;
  });
  EXPECT_EQ(reader->wait(milliseconds(5000)), 0) << manager->log();
}

TEST_F(UnnotedTest, WhoIsHeldWithoutANoteGoesOn) {
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  auto other = truncate_to(4096);
  client->recall();
  manager->kill(SIGKILL);
  forget_what_is_held();
  manager->start();
  resume();
  let_it_go(other.get());
}

// Who needs no lease's going is not held up meanwhile. The second successor has nothing of its own to tell that somebody is held: the first one had
// read events, and noted them.
TEST_F(UnnotedTest, HeGoesOnAfterTwoKillsAndOthersAtOnce) {
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  auto other = truncate_to(4096);
  client->recall();
  manager->kill(SIGKILL);
  forget_what_is_held();
  manager->start();
  resume();
  client->comply(client->recall().frame.recall());
  ASSERT_EQ(client->recall().frame.recall().action(), v1::ACTION_TRIM);  // not answered
  EXPECT_EQ(read_by_other(path)->wait(milliseconds(1000)), 0) << manager->log();
  auto later = truncate_to(8192);
  while (held_numbers().empty()) ASSERT_TRUE(later->running());
  EXPECT_GT(held_numbers()[0], number) << "it has the number of somebody who may be held";
  replace_daemon();
  resume();
  int trims = 0;
  while (other->running() || later->running()) {
    const auto m = client->next(milliseconds(50));
    if (!m || !m->frame.has_recall()) continue;
    trims += m->frame.recall().action() == v1::ACTION_TRIM;
    client->comply(m->frame.recall());
  }
  EXPECT_EQ(trims, 2) << manager->log();
  EXPECT_EQ(other->wait(), 0);
  EXPECT_EQ(later->wait(), 0);
}

// What the daemon does to the file through a descriptor of which events come is held for the daemon itself.
TEST_F(UnnotedTest, TheDaemonsOwnWorkIsNotHeldUp) {
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096);
  const wire::Fd own = armed(path);
  const Message granted = client->lease(own.get(), v1::BACKING_BOUNCE, 4096, kSize - 4096);
  ASSERT_EQ(::pwrite(granted.fds[0].get(), "RDMA", 4, 4096), 4);
  manager->kill(SIGKILL);
  pretend_it_was_reading();
  manager->start();
  auto reader = read_by_other(path);
  resume();
  for (const auto asked : {v1::ACTION_TRIM, v1::ACTION_SETTLE}) {
    const Message recall = client->recall();
    EXPECT_EQ(recall.frame.recall().action(), asked);
    client->comply(recall.frame.recall());
  }
  EXPECT_EQ(reader->wait(milliseconds(4000)), 0) << manager->log();
  EXPECT_EQ(manager->log().find("overran"), std::string::npos) << manager->log();
}

}  // namespace mrlease::test
