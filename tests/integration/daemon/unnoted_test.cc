// SPDX-License-Identifier: Apache-2.0
// kill -9 of the daemon between the kernel's hand-over of an operation and the daemon's own note of it: somebody may be held of whom nobody
// knows. Every lease gets out of his way once, and meanwhile the daemon goes on.
#include <algorithm>
#include <stdexcept>

#include "tests/integration/daemon/kept_fixture.h"

namespace mrlease::test {

using std::chrono::milliseconds;

// Opens the file, and reads of it when it is told to: a read shows at once what it is, an open may take a busy machine too long.
class Reader {
 public:
  explicit Reader(const std::string& file) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    const wire::Fd told(ends[0]);
    go_ = wire::Fd(ends[1]);
    child_ = std::make_unique<Child>([file, told = told.get()] {
      if (told != 3) ::dup2(told, 3);
      ::close_range(4, ~0u, 0);  // nothing of what the manager keeps
      const int own = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
      char c = 0;
      if (own < 0 || ::read(3, &c, 1) != 1) return 1;
      return ::pread(own, &c, 1, 0) == 1 ? 0 : errno;
    });
    if (!child_->blocked_in(SYS_read)) throw std::runtime_error("the reader does not wait");
  }
  void go() { EXPECT_EQ(::write(go_.get(), "g", 1), 1); }
  int wait(milliseconds timeout) { return child_->wait(timeout); }

 private:
  wire::Fd go_;
  std::unique_ptr<Child> child_;
};

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
  // Numbers of what is held and noted, when there is something.
  std::vector<int> wait_for_held() {
    const auto memory = kept_memory("journal", guard::Journal::bytes());
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    std::vector<int> numbers;
    while (numbers.empty() && std::chrono::steady_clock::now() < deadline)
      for (const guard::Orphan& each : guard::Journal(memory.get()).orphans()) numbers.push_back(each.number);
    return numbers;
  }
  int unnoted_below() { return guard::Journal(kept_memory("journal", guard::Journal::bytes()).get()).unnoted_below(); }
  // How many were to trim.
  int comply_until_over(const std::vector<Child*>& held) {
    int trims = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    const auto waits = [](Child* each) { return each->running(); };
    while (std::any_of(held.begin(), held.end(), waits) && std::chrono::steady_clock::now() < deadline) {
      const auto m = client->next(milliseconds(20));
      if (!m || !m->frame.has_recall()) continue;
      trims += m->frame.recall().action() == v1::ACTION_TRIM;
      client->comply(m->frame.recall());
    }
    for (Child* each : held) EXPECT_EQ(each->wait(), 0) << manager->log();
    return trims;
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

// Who may be held of a frozen file is let go when the leases of the others are out of the way: a thaw would put a device under it before.
TEST_F(UnnotedTest, NothingThawsBeforeItIsLetGo) {
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  ask_freeze();
  client->comply(client->recall().frame.recall());
  const auto frozen = client->next();
  ASSERT_TRUE(frozen && frozen->frame.has_frozen());
  const wire::Fd other(::open(directory->file("other", 4096).c_str(), O_RDWR | O_CLOEXEC));
  client->lease(other.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096);
  manager->kill(SIGKILL);
  pretend_it_was_reading();
  manager->start();
  resume();
  const Message trim = client->recall();
  ASSERT_EQ(trim.frame.recall().action(), v1::ACTION_TRIM) << manager->log();
  ask_thaw(frozen->frame.frozen().freeze());
  EXPECT_FALSE(client->next(milliseconds(300))) << "a thaw under somebody who may be held";
  client->comply(trim.frame.recall());
  bool thawed = false;
  while (!thawed) {
    const Message next = client->recall();
    thawed = next.frame.recall().action() == v1::ACTION_THAW;
    client->comply(next.frame.recall());
  }
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
  auto reader = std::make_unique<Reader>(path);
  manager->kill(SIGKILL);
  forget_what_is_held();
  manager->start();
  resume();
  client->comply(client->recall().frame.recall());
  ASSERT_EQ(client->recall().frame.recall().action(), v1::ACTION_TRIM);  // not answered
  reader->go();
  EXPECT_EQ(reader->wait(milliseconds(1000)), 0) << manager->log();
  auto later = truncate_to(8192);
  ASSERT_TRUE(later->blocked_in(SYS_truncate));
  const auto numbers = wait_for_held();
  ASSERT_EQ(numbers.size(), 1u) << manager->log();
  EXPECT_GT(unnoted_below(), number);
  EXPECT_GE(numbers[0], unnoted_below()) << "it could be the number of somebody who is held";
  replace_daemon();
  resume();
  EXPECT_EQ(comply_until_over({other.get(), later.get()}), 2) << manager->log();
}

// Also where it had many that are not kept: here each lease's own descriptor, which are all of one open file.
TEST_F(UnnotedTest, HoweverManyDescriptorsThereWere) {
  constexpr int kMany = 1100;  // more than are taken beside those that it knows of (loop/office.cc)
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  const wire::Fd many(::open(directory->file("many", 4096).c_str(), O_RDWR | O_CLOEXEC));
  for (int i = 0; i < kMany; i++) client->lease(many.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096, true, true);
  auto other = truncate_to(4096);
  client->recall();
  manager->kill(SIGKILL);
  forget_what_is_held();
  EXPECT_GT(number, kMany);
  manager->start();
  resume();
  EXPECT_EQ(comply_until_over({other.get()}), kMany + 1) << manager->log();
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
