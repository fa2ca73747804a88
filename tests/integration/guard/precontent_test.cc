// SPDX-License-Identifier: Apache-2.0
// The precontent guard against the real kernel: what a foreign, unprivileged process does is told right, held until it is
// answered, and seen to be over.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/integration/guard/precontent_fixture.h"

namespace mrlease::guard::test {
namespace {

using core::BreakKind;
using core::Extent;
using core::kToEnd;

constexpr std::uint64_t kHalf = kFileSize / 2;
alignas(4096) char buffer[8192];

struct Operation {
  const char* name;
  // Runs in the child with a descriptor of the file that was opened after arming.
  int (*run)(int fd, const char* path);
  int open_flags;
  BreakKind kind;
  Extent extent;
  bool optional = false;  // held everywhere, but not every file system can do it
};

void PrintTo(const Operation& o, std::ostream* out) { *out << o.name; }

const Operation kOperations[] = {
    {"ftruncate", [](int fd, const char*) { return outcome(::ftruncate(fd, kHalf)); }, O_RDWR, BreakKind::Truncate,
     {kHalf, kToEnd}},
    {"ftruncate_odd", [](int fd, const char*) { return outcome(::ftruncate(fd, kHalf + 5)); }, O_RDWR,
     BreakKind::Truncate, {kHalf + 5, kToEnd}},
    {"truncate", [](int, const char* path) { return outcome(::truncate(path, kHalf)); }, O_RDWR, BreakKind::Truncate,
     {kHalf, kToEnd}},
    {"open_trunc", [](int, const char* path) { return outcome(::open(path, O_WRONLY | O_TRUNC)); }, O_RDWR,
     BreakKind::Truncate, {0, kToEnd}},
    {"creat", [](int, const char* path) { return outcome(::creat(path, 0600)); }, O_RDWR, BreakKind::Truncate,
     {0, kToEnd}},
    {"pread", [](int fd, const char*) { return outcome(::pread(fd, buffer, 8192, 4096)); }, O_RDWR, BreakKind::Read,
     {4096, 12288}},
    {"pwrite", [](int fd, const char*) { return outcome(::pwrite(fd, buffer, 8192, 4096)); }, O_RDWR, BreakKind::Write,
     {4096, 12288}},
    {"append", [](int fd, const char*) { return outcome(::write(fd, buffer, 8192)); }, O_RDWR | O_APPEND,
     BreakKind::Write, {0, kToEnd}},
    {"direct_write", [](int fd, const char*) { return outcome(::pwrite(fd, buffer, 8192, 4096)); }, O_RDWR | O_DIRECT,
     BreakKind::Destructive, {4096, 12288}},
    {"punch",
     [](int fd, const char*) {
       return outcome(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 8192));
     },
     O_RDWR, BreakKind::Destructive, {8192, 16384}},
    {"collapse", [](int fd, const char*) { return outcome(::fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 8192, 8192)); },
     O_RDWR, BreakKind::Destructive, {8192, kToEnd}, true},
    {"mmap",
     [](int fd, const char*) {
       return ::mmap(nullptr, 8192, PROT_READ, MAP_SHARED, fd, 4096) == MAP_FAILED ? errno : 0;
     },
     O_RDWR, BreakKind::Read, {4096, 12288}},
    {"madvise_remove",
     [](int fd, const char*) {
       void* at = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
       return at == MAP_FAILED ? errno : outcome(::madvise(at, 8192, MADV_REMOVE));
     },
     O_RDWR, BreakKind::Destructive, {4096, 12288}},
    {"sendfile_from",
     [](int fd, const char*) {
       int p[2];
       if (::pipe(p)) return errno;
       off_t at = 4096;
       return outcome(::sendfile(p[1], fd, &at, 8192));
     },
     O_RDWR, BreakKind::Read, {4096, 12288}},
};

// Its thread may be anywhere in its first round.
TEST(GuardEnds, RightAfterItHasBegun) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  for (int i = 0; i < 300; ++i) {
    Recorder recorder;
    Guard::create({}, recorder.listener());
  }
}

class HoldsOperation : public PrecontentTest, public testing::WithParamInterface<Operation> {
 protected:
  void SetUp() override {
    PrecontentTest::SetUp();
    if (IsSkipped()) return;
    const Operation& o = GetParam();
    needs_of(o.kind);
    child = std::make_unique<Foreign>(std::vector<Foreign::Step>{
        [this, &o] { return outcome(opened = ::open(file.path(), o.open_flags)); },
        [this, &o] { return o.run(opened, file.path()); }});
    child->next();
    ASSERT_EQ(child->result(), 0);  // a harmless open is not held
    child->next();
    auto held = recorder.wait_held();
    ASSERT_TRUE(held);
    op = *held;
  }
  // Only this kind, so that steps on the way there (mmap before madvise) pass.
  void needs_of(BreakKind kind) {
    core::Needs needs;
    needs.truncate = kind == BreakKind::Truncate;
    needs.destructive = kind == BreakKind::Destructive;
    needs.write = kind == BreakKind::Write;
    needs.read = kind == BreakKind::Read;
    guard->publish(file.key(), needs);
  }
  void TearDown() override {
    child.reset();
    PrecontentTest::TearDown();
  }
  int opened = -1;  // in the child
  ForeignOp op;
  std::unique_ptr<Foreign> child;
};

TEST_P(HoldsOperation, UntilAllowed) {
  const Operation& o = GetParam();
  EXPECT_EQ(op.file, file.key());
  EXPECT_EQ(op.kind, o.kind) << op.what;
  EXPECT_EQ(op.extent, o.extent) << op.extent.begin << ".." << op.extent.end;
  EXPECT_EQ(op.tid, child->pid());
  if (o.kind == BreakKind::Truncate) {
    EXPECT_EQ(op.new_size, o.extent.begin);
  }
  EXPECT_FALSE(child->done());
  EXPECT_EQ(file.size(), kFileSize);
  guard->answer(op.id, 0, true);
  EXPECT_EQ(recorder.wait_left(op.id), true);
  int result = child->result();
  EXPECT_TRUE(result == 0 || (o.optional && result == EOPNOTSUPP)) << "errno " << result;
  EXPECT_EQ(recorder.held_now(), 0u);
}

TEST_P(HoldsOperation, UntilDenied) {
  guard->answer(op.id, EBUSY, true);
  EXPECT_EQ(recorder.wait_left(op.id), true);
  EXPECT_EQ(child->result(), EBUSY);
  EXPECT_EQ(file.size(), kFileSize);
}

INSTANTIATE_TEST_SUITE_P(All, HoldsOperation, testing::ValuesIn(kOperations),
                         [](const auto& o) { return std::string(o.param.name); });

TEST_F(PrecontentTest, SeesAFailingOperationLeave) {
  Foreign child({[this] {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{2 * kFileSize, 2 * kFileSize};
    if (::setrlimit(RLIMIT_FSIZE, &limit)) return errno;
    return outcome(::truncate(file.path(), 4 * kFileSize));
  }});
  child.next();
  auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(op->new_size, 4 * kFileSize);
  guard->answer(op->id, 0, true);
  EXPECT_EQ(recorder.wait_left(op->id), true);
  EXPECT_EQ(child.result(), EFBIG);
}

TEST_F(PrecontentTest, SeesATaskLeaveThatSpinsInUserMode) {
  Foreign child({[this] {
    int opened = ::open(file.path(), O_RDONLY);
    [[maybe_unused]] ssize_t n = ::pread(opened, buffer, 4096, 0);
    for (;;) asm volatile("");
    return 0;
  }});
  child.next();
  auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(op->kind, BreakKind::Read);
  guard->answer(op->id, 0, true);
  EXPECT_EQ(recorder.wait_left(op->id), true);
}

TEST_F(PrecontentTest, AHeldTaskCanBeKilled) {
  Foreign child({[this] { return outcome(::truncate(file.path(), 0)); }});
  child.next();
  auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  child.kill();  // waits for its end
  guard->answer(op->id, 0, true);
  EXPECT_EQ(recorder.wait_left(op->id), true);
  EXPECT_EQ(file.size(), kFileSize);
}

TEST_F(PrecontentTest, WhatIsNotNeededPassesAtOnce) {
  guard->publish(file.key(), core::Needs{.truncate = true});
  Foreign child({[this] {
    int opened = ::open(file.path(), O_RDWR);
    if (::pread(opened, buffer, 4096, 0) < 0 || ::pwrite(opened, buffer, 8192, 0) < 0) return errno;
    return outcome(::fallocate(opened, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192));
  }});
  child.next();
  EXPECT_EQ(child.result(), 0);
  EXPECT_EQ(recorder.held_now(), 0u);
}

TEST_F(PrecontentTest, WhoReadAndWroteIsHeldWhenItTruncates) {
  guard->publish(file.key(), core::Needs{.truncate = true});
  Foreign child({[this] {
    int opened = ::open(file.path(), O_RDWR);
    for (int i = 0; i < 3; i++) {  // a page looks as a truncate to an end within it does
      if (::pread(opened, buffer, 4096, 4096) < 0 || ::pwrite(opened, buffer, 4096, 4096) < 0) return errno;
    }
    return outcome(::ftruncate(opened, kHalf + 5));
  }});
  child.next();
  auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(op->kind, BreakKind::Truncate) << op->what;
  EXPECT_EQ(op->new_size, kHalf + 5);
  EXPECT_EQ(op->tid, child.pid());
  guard->answer(op->id, 0, true);
  EXPECT_EQ(child.result(), 0);
  EXPECT_EQ(recorder.held_now(), 0u);
}

TEST_F(PrecontentTest, WhoWasLetThroughIsNotTakenForALateOne) {
  for (int i = 0; i < 10; i++) {
    guard->publish(file.key(), core::Needs{.truncate = true});
    Foreign child({[this] {
      const int opened = ::open(file.path(), O_RDWR);
      for (char n = 1;; n = n % 100 + 1)
        if (::pwrite(opened, &n, 1, 0) < 0) return errno;
    }});
    char before = 0, now = 0;
    ASSERT_EQ(::pread(fd.get(), &before, 1, 0), 1);
    child.next();
    do {
      // On a busy machine it may be too long on its way to sleep for its open to be told from one that truncates.
      if (recorder.held_now() > 0) guard->answer(recorder.wait_held()->id, 0, true);
      ASSERT_EQ(::pread(fd.get(), &now, 1, 0), 1);
    } while (now == before);
    guard->publish(file.key(), core::Needs{.truncate = true, .write = true});
    auto op = recorder.wait_held();
    ASSERT_TRUE(op);
    EXPECT_TRUE(op->kind == BreakKind::Write || op->what.find("cannot be told") != std::string::npos) << op->what;
    child.kill();
    guard->answer(op->id, 0, true);
    EXPECT_EQ(recorder.wait_left(op->id), true);
  }
  EXPECT_EQ(recorder.observed_now(), 0u);
}

TEST_F(PrecontentTest, UnwatchedIsNotHeld) {
  guard->unwatch(file.key());
  Foreign child({[this] { return outcome(::truncate(file.path(), kHalf)); }});
  child.next();
  EXPECT_EQ(child.result(), 0);
  EXPECT_EQ(recorder.held_now(), 0u);
}

TEST_F(PrecontentTest, OwnThreadsPass) {
  sys::Fd opened = file.open(O_TRUNC);
  ASSERT_TRUE(opened);
  EXPECT_EQ(::pwrite(opened.get(), buffer, 8192, 0), 8192);
  EXPECT_EQ(::pread(opened.get(), buffer, 8192, 0), 8192);
  EXPECT_EQ(::ftruncate(opened.get(), 100), 0);
  EXPECT_EQ(recorder.held_now(), 0u);
}

TEST_F(PrecontentTest, OperationsOfTwoTasksAreHeldSideBySide) {
  Foreign a({[this] { return outcome(::truncate(file.path(), kHalf)); }});
  Foreign b({[this] { return outcome(::truncate(file.path(), 0)); }});
  a.next();
  auto first = recorder.wait_held();
  b.next();
  auto second = recorder.wait_held();
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->id, second->id);
  guard->answer(second->id, 0, true);
  EXPECT_EQ(b.result(), 0);
  EXPECT_FALSE(a.done());
  guard->answer(first->id, EBUSY, false);
  EXPECT_EQ(a.result(), EBUSY);
}

TEST_F(PrecontentTest, TheGuardsEndLetsEverythingGo) {
  Foreign child({[this] { return outcome(::truncate(file.path(), kHalf)); }});
  child.next();
  ASSERT_TRUE(recorder.wait_held());
  guard.reset();
  EXPECT_EQ(child.result(), 0);
}

TEST_F(PrecontentTest, DisarmLetsEverythingGoAndHoldsNoMore) {
  Foreign child({[this] { return outcome(::truncate(file.path(), kHalf)); },
                 [this] { return outcome(::truncate(file.path(), 0)); }});
  child.next();
  ASSERT_TRUE(recorder.wait_held());
  guard->disarm();
  EXPECT_EQ(child.result(), 0);
  child.next();
  EXPECT_EQ(child.result(), 0);
}

class OldDescriptor : public PrecontentTest {
 protected:
  void before_guard() override {
    old = file.open();  // nobody has armed the file yet
  }
  sys::Fd old;
};

TEST_F(OldDescriptor, TruncateIsHeldAndAWriteAtLeastSeen) {
  int kept = old.get();
  Foreign child({[kept] { return outcome(::pwrite(kept, buffer, 4096, 0)); },
                 [kept] { return outcome(::ftruncate(kept, 0)); }},
                kept);
  child.next();
  if (!child.done(1000)) {  // somebody else on this machine had armed the file system
    auto op = recorder.wait_held();
    ASSERT_TRUE(op);
    guard->answer(op->id, 0, true);
  } else {
    EXPECT_TRUE(recorder.wait_observed());
  }
  EXPECT_EQ(child.result(), 0);
  child.next();
  auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(op->kind, BreakKind::Truncate);
  guard->answer(op->id, EBUSY, true);
  EXPECT_EQ(child.result(), EBUSY);
}

class ShortDeadMan : public PrecontentTest {
 protected:
  ShortDeadMan() { options.dead_man = std::chrono::milliseconds(300); }
};

TEST_F(ShortDeadMan, ASilentMainLoopEndsInAllowing) {
  Foreign child({[this] { return outcome(::truncate(file.path(), kHalf)); }});
  child.next();
  EXPECT_EQ(child.result(), 0);
  EXPECT_TRUE(recorder.wait_failed());
}

// A lease of the client's own on the file (F_SETLEASE): the guard would wait for him with every event, and answer nobody.
TEST_F(PrecontentTest, AClientsOwnLeaseDoesNotHoldTheGuard) {
  ASSERT_EQ(::fcntl(fd.get(), F_SETSIG, SIGURG), 0);  // which nobody minds
  ASSERT_EQ(::fcntl(fd.get(), F_SETLEASE, F_WRLCK), 0) << errno;
  Foreign opens({[this] { return outcome(::open(file.path(), O_RDONLY)); }});
  opens.next();
  EXPECT_EQ(opens.result(), EPERM);
  ASSERT_EQ(::fcntl(fd.get(), F_SETLEASE, F_UNLCK), 0);
  Foreign child({[this] { return outcome(::truncate(file.path(), kHalf)); }});
  child.next();
  const auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  guard->answer(op->id, 0, true);
  EXPECT_EQ(child.result(), 0);
}

TEST_F(PrecontentTest, AMemfdIsSaidNotToBeHeld) {
  sys::Fd memory(::memfd_create("mrlease-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(memory.get(), 4096), 0);
  Coverage plain = guard->watch({1, 1}, memory.get());
  EXPECT_NE(plain.kind, Kind::Precontent);
  EXPECT_NE(plain.kind, Kind::Seal);
  guard->unwatch({1, 1});
  ASSERT_EQ(::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE), 0);
  EXPECT_EQ(guard->watch({1, 1}, memory.get()).kind, Kind::Seal);
}

}  // namespace
}  // namespace mrlease::guard::test
