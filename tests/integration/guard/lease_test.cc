// SPDX-License-Identifier: Apache-2.0
// The lease guard against the real kernel, on every version.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <utility>
#include <vector>

#include "daemon/guard/guard_core.h"
#include "daemon/guard/lease_engine.h"
#include "daemon/guard/lease_guard.h"
#include "tests/integration/guard/recorder.h"
#include "tests/integration/guard/scratch.h"
#include "tests/support/foreign.h"

namespace mrlease::guard::test {

using mrlease::test::Foreign;
using mrlease::test::outcome;
namespace {

using core::BreakKind;

Heritage follows(std::vector<char>* journal) {
  Heritage heritage;
  heritage.journal = journal->data();
  heritage.follows = true;
  return heritage;
}

class LeaseTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    key = file.key();
    guard = create_lease_guard({}, recorder.listener());
    fd = file.open();
    Coverage coverage = guard->watch(key, fd.get());
    ASSERT_EQ(coverage.kind, Kind::Lease) << coverage.text;
    ASSERT_EQ(::fcntl(fd.get(), F_GETLEASE), F_WRLCK);
    guard->publish(key, core::Needs{true, true, true, true});
  }
  // The lease comes back by itself; nothing tells of it.
  bool leased_again() {
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (::fcntl(fd.get(), F_GETLEASE) != F_WRLCK) {
      if (std::chrono::steady_clock::now() > end) return false;
      ::poll(nullptr, 0, 5);
    }
    return true;
  }
  void allow(const ForeignOp& op) {
    guard->answer(op.id, 0, true);
    EXPECT_TRUE(recorder.wait_left(op.id));
  }

  Scratch file;
  core::FileKey key;
  Recorder recorder;
  std::unique_ptr<Guard> guard;
  sys::Fd fd;
};

// The description is its client's, who says which signal the kernel sends for a break: not to the daemon.
TEST_F(LeaseTest, NoSignalOfTheClientsReachesTheDaemon) {
  std::uint64_t size = kFileSize;
  for (const int signal : {SIGKILL, SIGSTOP, SIGTERM, SIGSEGV, SIGRTMIN, 0}) {
    ASSERT_EQ(::fcntl(fd.get(), F_SETSIG, signal), 0);
    size /= 2;
    Foreign child({[this, size] { return outcome(::truncate(file.path(), size)); }});
    child.next();
    const auto op = recorder.wait_held();
    ASSERT_TRUE(op) << signal;
    guard->answer(op->id, 0, true);
    EXPECT_EQ(child.result(), 0) << signal;
    EXPECT_TRUE(recorder.wait_left(op->id)) << signal;
    EXPECT_TRUE(leased_again()) << signal;
  }
}

// Nor is the daemon set as the owner, where the client has made that nobody; and somebody sees the break all the same.
TEST_F(LeaseTest, AClientThatTakesTheOwnerAwayIsFoundOut) {
  const f_owner_ex nobody{F_OWNER_PID, 0};
  ASSERT_EQ(::fcntl(fd.get(), F_SETOWN_EX, &nobody), 0);
  Foreign child({[this] { return outcome(::truncate(file.path(), kFileSize / 2)); }});
  child.next();
  const auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  guard->answer(op->id, 0, true);
  EXPECT_EQ(child.result(), 0);
  EXPECT_TRUE(leased_again());
  EXPECT_NE(::fcntl(fd.get(), F_GETOWN), ::getpid());
}

TEST_F(LeaseTest, HoldsTruncateAndGetsTheLeaseBack) {
  for (std::uint64_t size : {kFileSize / 2, kFileSize / 4}) {
    Foreign child({[this, size] { return outcome(::truncate(file.path(), size)); }});
    auto before = file.size();
    child.next();
    auto op = recorder.wait_held();
    ASSERT_TRUE(op);
    EXPECT_EQ(op->kind, BreakKind::Destructive);
    EXPECT_TRUE(op->shortens);
    EXPECT_EQ(op->new_size, 0u);
    EXPECT_EQ(op->tid, 0);
    EXPECT_FALSE(child.done());
    EXPECT_EQ(file.size(), before);
    guard->answer(op->id, 0, true);
    EXPECT_EQ(recorder.wait_left(op->id), true);
    // Before anybody is told: leases that come back are held from the start.
    EXPECT_EQ(::fcntl(fd.get(), F_GETLEASE), F_WRLCK);
    EXPECT_EQ(child.result(), 0);
    EXPECT_EQ(file.size(), size);
  }
}

TEST_F(LeaseTest, WhoOpensWritesAndClosesHasLeftWhenTheFileIsHeldAgain) {
  Foreign child({[this] {
    const int opened = ::open(file.path(), O_RDWR);
    return opened < 0 || ::pwrite(opened, "y", 1, 0) != 1 ? errno : outcome(::close(opened));
  }});
  child.next();
  const auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  guard->answer(op->id, 0, true);
  EXPECT_TRUE(recorder.wait_left(op->id));
  EXPECT_EQ(::fcntl(fd.get(), F_GETLEASE), F_WRLCK);
  EXPECT_EQ(child.result(), 0);
}

// A mark that is there together with the lease would be the end of both: the guard would wait for itself.
TEST_F(LeaseTest, ASuccessorTakesAwayTheMarkOfItsPredecessor) {
  guard.reset();
  sys::FanGroup perm;
  ASSERT_EQ(perm.open(FAN_CLASS_CONTENT | FAN_REPORT_TID), 0);
  ASSERT_EQ(perm.mark(FAN_MARK_ADD, FAN_OPEN_PERM, fd.get()), 0);
  EXPECT_EQ(perm.marked_inodes(), std::set<std::uint64_t>{key.inode});
  std::vector<char> journal(Journal::bytes());
  Heritage heritage = follows(&journal);
  heritage.perm.reset(::fcntl(perm.fd(), F_DUPFD_CLOEXEC, 3));
  GuardCore successor({}, recorder.listener(), false, std::move(heritage));
  EXPECT_EQ(successor.watch(key, fd.get()).kind, Kind::Lease);
  EXPECT_EQ(::fcntl(fd.get(), F_GETLEASE), F_WRLCK);
  EXPECT_TRUE(perm.marked_inodes().empty());
  successor.publish(key, core::Needs{.truncate = true});
  successor.begin();
  Foreign child({[this] {
    const int opened = ::open(file.path(), O_RDONLY);
    return opened < 0 ? errno : outcome(::close(opened));
  }});
  child.next();
  EXPECT_EQ(child.result(), 0);
  EXPECT_TRUE(leased_again());
}

// Somebody waits for a lease whose daemon was killed: it goes on when the successor knows who needs what, and not before.
TEST_F(LeaseTest, ASuccessorLetsNobodyGoBeforeItKnowsWhatIsNeeded) {
  guard.reset();
  ASSERT_EQ(::fcntl(fd.get(), F_SETSIG, SIGURG), 0);  // which nobody minds
  ASSERT_EQ(::fcntl(fd.get(), F_SETLEASE, F_WRLCK), 0);
  Foreign child({[this] { return outcome(::truncate(file.path(), 0)); }});
  child.next();
  while (::fcntl(fd.get(), F_GETLEASE) == F_WRLCK && !child.done()) ::sched_yield();
  std::vector<char> journal(Journal::bytes());
  GuardCore successor({}, recorder.listener(), false, follows(&journal));
  EXPECT_EQ(successor.watch(key, fd.get()).kind, Kind::Lease);
  ::poll(nullptr, 0, 100);  // nothing tells that it stays so
  EXPECT_FALSE(child.done());
  successor.publish(key, core::Needs{.truncate = true});
  successor.begin();
  const auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(file.size(), kFileSize);
  successor.answer(op->id, 0, true);
  EXPECT_TRUE(recorder.wait_left(op->id));
  EXPECT_EQ(child.result(), 0);
}

// He had come to the mark before it was taken away, and the daemon was killed before it had read his event.
TEST_F(LeaseTest, ASuccessorDoesNotWaitForItselfBehindAnUnreadOpen) {
  guard.reset();
  sys::FanGroup perm;
  ASSERT_EQ(perm.open(FAN_CLASS_CONTENT | FAN_REPORT_TID), 0);
  ASSERT_EQ(::fcntl(fd.get(), F_SETSIG, SIGURG), 0);  // which nobody minds
  ASSERT_EQ(::fcntl(fd.get(), F_SETLEASE, F_WRLCK), 0);
  ASSERT_EQ(perm.mark(FAN_MARK_ADD, FAN_OPEN_PERM, fd.get()), 0);
  Foreign child({[this] {
    const sys::Fd opened(::open(file.path(), O_RDWR | O_TRUNC));
    return opened ? 0 : errno;
  }});
  child.next();
  pollfd queue{perm.fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&queue, 1, 5000), 1);
  ASSERT_EQ(perm.mark(FAN_MARK_REMOVE, FAN_OPEN_PERM, fd.get()), 0);
  std::vector<char> journal(Journal::bytes());
  Heritage heritage = follows(&journal);
  heritage.perm.reset(::fcntl(perm.fd(), F_DUPFD_CLOEXEC, 3));
  GuardCore successor({}, recorder.listener(), false, std::move(heritage));
  EXPECT_EQ(successor.watch(key, fd.get()).kind, Kind::Lease);
  successor.publish(key, core::Needs{true, true, true, true});
  successor.begin();
  const auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(op->tid, child.pid());
  EXPECT_EQ(file.size(), kFileSize);
  successor.answer(op->id, 0, true);
  EXPECT_EQ(child.result(), 0);
}

TEST_F(LeaseTest, ASuccessorWaitsAMomentForWhoIsAboutToClose) {
  guard.reset();
  int opened = -1;
  Foreign child({[&] { return outcome(opened = ::open(file.path(), O_RDWR)); },
                 [&] {
                   ::poll(nullptr, 0, 20);  // what takes its time there
                   return outcome(::close(opened));
                 },
                 [&] { return outcome(opened = ::open(file.path(), O_RDWR)); }});
  child.next();
  ASSERT_EQ(child.result(), 0);
  std::vector<char> journal(Journal::bytes());
  GuardCore successor({}, recorder.listener(), false, follows(&journal));
  child.next();
  EXPECT_EQ(successor.watch(key, fd.get()).kind, Kind::Lease);
  EXPECT_EQ(::fcntl(fd.get(), F_GETLEASE), F_WRLCK);
  EXPECT_EQ(child.result(), 0);
  // Who does not close it is not waited for.
  successor.unwatch(key);
  child.next();
  ASSERT_EQ(child.result(), 0);
  EXPECT_NE(successor.watch(key, fd.get()).text.find("others have the file open"), std::string::npos);
}

TEST_F(LeaseTest, HoldsAReaderAndAMapping) {
  void* map = ::mmap(nullptr, kFileSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);  // as clients have it
  ASSERT_NE(map, MAP_FAILED);
  Foreign child({[this] { return outcome(::open(file.path(), O_RDONLY)); }});
  child.next();
  auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(op->kind, BreakKind::Read);
  EXPECT_FALSE(child.done());
  guard->answer(op->id, 0, true);
  EXPECT_EQ(recorder.wait_left(op->id), true);
  EXPECT_EQ(child.result(), 0);
  ::munmap(map, kFileSize);
}

TEST_F(LeaseTest, WhatIsNotNeededPassesAtOnce) {
  guard->publish(key, core::Needs{.truncate = true});
  Foreign child({[this] {
    int opened = ::open(file.path(), O_RDONLY);
    return opened < 0 ? errno : outcome(::close(opened));
  }});
  child.next();
  EXPECT_EQ(child.result(), 0);
  EXPECT_EQ(recorder.held_now(), 0u);
  EXPECT_TRUE(leased_again());
}

TEST_F(LeaseTest, SharedStateHoldsTruncatingOpensAndObservesTheRest) {
  int opened = -1;
  Foreign holder({[&] { return outcome(opened = ::open(file.path(), O_RDWR)); },
                  [&] { return outcome(::pwrite(opened, "y", 1, 0)); }, [&] { return outcome(::close(opened)); }});
  holder.next();
  auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(op->kind, BreakKind::Destructive);  // a writer that opens cannot be told from truncate(2)
  allow(*op);
  ASSERT_EQ(holder.result(), 0);

  Foreign cutter({[this] { return outcome(::open(file.path(), O_WRONLY | O_TRUNC)); },
                  [this] {
                    int again = ::open(file.path(), O_WRONLY | O_TRUNC);
                    return again < 0 ? errno : outcome(::close(again));
                  }});
  cutter.next();
  op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(op->kind, BreakKind::Truncate);
  EXPECT_EQ(op->tid, cutter.pid());
  EXPECT_EQ(file.size(), kFileSize);
  guard->answer(op->id, EPERM, true);
  EXPECT_EQ(cutter.result(), EPERM);

  cutter.next();
  op = recorder.wait_held();
  ASSERT_TRUE(op);
  guard->answer(op->id, 0, true);
  EXPECT_EQ(recorder.wait_left(op->id), true);
  EXPECT_EQ(cutter.result(), 0);
  EXPECT_EQ(file.size(), 0u);

  holder.next();
  EXPECT_EQ(holder.result(), 0);
  auto seen = recorder.wait_observed();
  ASSERT_TRUE(seen);
  EXPECT_NE(seen->find(std::to_string(holder.pid())), std::string::npos) << *seen;

  holder.next();
  EXPECT_EQ(holder.result(), 0);
  EXPECT_TRUE(leased_again());
  Foreign child({[this] { return outcome(::truncate(file.path(), 0)); }});
  child.next();
  EXPECT_TRUE(recorder.wait_held());
}

TEST_F(LeaseTest, AWriterBehindAHeldReaderIsHeldToo) {
  Foreign reader({[this] { return outcome(::open(file.path(), O_RDONLY)); }});
  Foreign cutter({[this] { return outcome(::truncate(file.path(), 0)); }});
  reader.next();
  auto read = recorder.wait_held();
  ASSERT_TRUE(read);
  cutter.next();
  auto cut = recorder.wait_held();
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->kind, BreakKind::Destructive);
  guard->answer(read->id, 0, false);
  EXPECT_FALSE(cutter.done());
  EXPECT_EQ(file.size(), kFileSize);
  guard->answer(cut->id, 0, false);
  EXPECT_EQ(cutter.result(), 0);
  EXPECT_EQ(reader.result(), 0);
}

TEST_F(LeaseTest, UnwatchAndTheGuardsEndLeaveNoLease) {
  guard->unwatch(key);
  EXPECT_EQ(::fcntl(fd.get(), F_GETLEASE), F_UNLCK);
  ASSERT_EQ(guard->watch(key, fd.get()).kind, Kind::Lease);
  EXPECT_EQ(::fcntl(fd.get(), F_GETLEASE), F_WRLCK);
  guard.reset();
  EXPECT_EQ(::fcntl(fd.get(), F_GETLEASE), F_UNLCK);
}

TEST_F(LeaseTest, AFileThatOthersHaveOpenIsTakenWhenTheyClose) {
  guard->unwatch(key);
  sys::Fd other = file.open();
  Coverage coverage = guard->watch(key, fd.get());
  EXPECT_EQ(coverage.kind, Kind::Lease);
  EXPECT_NE(coverage.text.find("others have the file open"), std::string::npos) << coverage.text;
  EXPECT_EQ(::fcntl(fd.get(), F_GETLEASE), F_UNLCK);
  other.reset();
  EXPECT_TRUE(leased_again());
}

// Somebody has passed the mark just before it was taken away, and comes to the queue when the lease is held: a descriptor that came with his
// event would break our own lease, and the guard wait for itself. The test puts the mark back for that.
class OnTheWay : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_EQ(queue.open(FAN_CLASS_CONTENT | FAN_REPORT_TID), 0);
    mark();
    engine.open(sys::Fd(::fcntl(queue.fd(), F_DUPFD_CLOEXEC, 3)), true);
    sys::FileId id;
    sys::file_id(fd.get(), &id);
    WatchedFile& watched = files.add(file.key(), std::move(fd), id);
    watched.needs = core::Needs{true, true, true, true};
    comes = true;
    engine.watch(&watched);
    number = watched.fd.get();
    ASSERT_EQ(watched.kind, Kind::Lease) << watched.text;
    ASSERT_EQ(::fcntl(number, F_GETLEASE), F_WRLCK);
    mark();
  }
  void mark() { ASSERT_EQ(queue.mark(FAN_MARK_ADD, FAN_OPEN_PERM, number), 0); }
  static bool alone(int fd) { return !std::exchange(comes, false) && ::fcntl(fd, F_SETLEASE, F_WRLCK) == 0; }
  int open_and_cut() {
    const sys::Fd opened(::open(file.path(), O_RDWR | O_TRUNC));
    return opened ? 0 : errno;
  }
  bool readable(int of) {
    pollfd p{of, POLLIN, 0};
    return ::poll(&p, 1, 5000) == 1;
  }
  bool its_event_is_read(Foreign& child) {
    child.next();
    if (!readable(queue.fd())) return false;
    engine.on_perm_readable();
    return true;
  }
  static Sight running(const Look& look) {
    Sight sight;
    sight.view.tid = look.tid;
    sight.view.stat = sys::TaskStat{};
    sight.view.call = sys::SyscallState{};
    sight.view.call->running = true;
    return sight;
  }
  // Its task gets no CPU to go to sleep on, for so long, or until it has been judged.
  void runs_for(std::chrono::milliseconds time) {
    for (const auto end = Clock::now() + time; Clock::now() < end;) {
      if (const auto look = desk.next()) desk.seen(*look, running(*look));
      else if (desk.next_due() != Clock::time_point::max()) desk.poll(Clock::now());
      else return;
    }
  }
  std::vector<core::BreakId> held() {
    std::vector<core::BreakId> ids;
    for (auto look = desk.next(); look || desk.next_due() != Clock::time_point::max(); look = desk.next()) {  // as the guard does it
      if (look) desk.seen(*look, observe(*look));
      else desk.poll(Clock::now());
    }
    Listener listener;
    listener.held = [&](const ForeignOp& op) { ids.push_back(op.id); };
    for (const auto& note : outbox.take()) note(listener);
    return ids;
  }

  inline static bool comes = false;
  Scratch file;
  sys::Fd fd = file.open();
  int number = fd.get();
  sys::FanGroup queue;
  Outbox outbox;
  Journal journal;
  WatchedFiles files;
  std::function<void()> coming;
  Ledger ledger{&outbox, &journal};
  EventDesk desk{&files, &ledger, &journal, coming};
  LeaseEngine engine{&files, &ledger, &desk, &outbox, alone};
};

TEST_F(OnTheWay, TheLeaseGoesBeforeTheEventIsRead) {
  Foreign child({[this] { return open_and_cut(); }});
  ASSERT_TRUE(its_event_is_read(child));
  pollfd broken{engine.taker().breaks_fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&broken, 1, 0), 0) << "the guard has broken its own lease";
  const auto ids = held();
  ASSERT_EQ(ids.size(), 1u);
  EXPECT_EQ(file.size(), kFileSize);
  ledger.answer(ids[0], 0, false);
  EXPECT_EQ(child.result(), 0);
  EXPECT_EQ(file.size(), 0u);
}

TEST_F(OnTheWay, AReaderWhoGetsNoCpuForAWhileIsAReader) {
  Foreign child({[this] { return outcome(::open(file.path(), O_RDONLY)); }});
  ASSERT_TRUE(its_event_is_read(child));
  runs_for(std::chrono::milliseconds(200));
  EXPECT_TRUE(held().empty());
  EXPECT_EQ(child.result(), 0);
}

TEST_F(OnTheWay, WhoGetsNoneForLongCountsForTheWorst) {
  Foreign child({[this] { return outcome(::open(file.path(), O_RDONLY)); }});
  ASSERT_TRUE(its_event_is_read(child));
  runs_for(std::chrono::seconds(20));
  const auto ids = held();
  ASSERT_EQ(ids.size(), 1u);
  EXPECT_FALSE(child.done());
  ledger.answer(ids[0], 0, false);
  EXPECT_EQ(child.result(), 0);
}

TEST_F(OnTheWay, TheEventIsNotReadWhileAnotherWaitsForTheLease) {
  Foreign first({[this] { return outcome(::truncate(file.path(), kFileSize / 2)); }});
  first.next();
  ASSERT_TRUE(readable(engine.taker().breaks_fd()));
  Foreign second({[this] { return open_and_cut(); }});
  second.next();
  ASSERT_TRUE(readable(queue.fd()));
  engine.on_perm_readable();
  EXPECT_FALSE(engine.reads_perm());
  auto ids = held();
  ASSERT_EQ(ids.size(), 1u);
  EXPECT_EQ(file.size(), kFileSize);
  ledger.answer(ids[0], 0, false);
  EXPECT_EQ(first.result(), 0);
  EXPECT_TRUE(engine.reads_perm());
  EXPECT_FALSE(second.done());
  engine.on_perm_readable();
  ids = held();
  ASSERT_EQ(ids.size(), 1u);
  ledger.answer(ids[0], 0, false);
  EXPECT_EQ(second.result(), 0);
}

}  // namespace
}  // namespace mrlease::guard::test
