// SPDX-License-Identifier: Apache-2.0
// The transparent exchange without RDMA: CPU threads that store into the region stand in for the device.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <future>
#include <string>
#include <thread>

#include "tests/unit/client/exchange_rig.h"

namespace mrlease::client {
namespace {
using Kind = Segment::Kind;

struct CycleResult {
  int moved = 0;  // cycles in which the file changed while frozen
  std::uint64_t lost = 0;
  std::string failed;
};
CycleResult cycles(
    Rig& rig, int count, const std::function<void()>& meanwhile = [] {}) {
  CycleResult result;
  Writers writers(rig);
  for (int i = 0; i < count && result.failed.empty(); i++) {
    const auto id = static_cast<std::uint64_t>(i + 1);
    writers.wait_for_stores(200);
    Outcome o = rig.freeze(id);
    if (!o.ok()) result.failed = "freeze: " + o.text;
    const std::string before = rig.content();
    writers.wait_for_stores(200);
    meanwhile();
    if (rig.content() != before) result.moved++;
    o = rig.exchange->thaw(id, soon());
    if (!o.ok()) result.failed = "thaw: " + o.text;
    result.lost += writers.lost();
  }
  return result;
}

TEST(Exchange, HundredFreezesUnderStoringThreadsLoseNothing) {
  Rig rig;
  START_OR_SKIP(rig);
  const CycleResult r = cycles(rig, 100);
  EXPECT_EQ(r.failed, "");
  EXPECT_EQ(r.moved, 0);
  EXPECT_EQ(r.lost, 0u);
  EXPECT_GT(rig.exchange->stats().pages_merged, 0u);
  EXPECT_GT(rig.exchange->stats().stall_us_max, 0u);
  EXPECT_EQ(rig.exchange->stats().freezes, 100u);
}

int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

// For reading only, not inherited by children, and the file's own pages.
TEST(Exchange, TheSecondMappingOfTheFileIsTheFirstForReading) {
  Rig rig;
  char* alias = nullptr;
  ASSERT_TRUE(map_alias(rig.layout, &alias).ok());
  rig.at(3) = 'x';
  EXPECT_EQ(alias[3 * kPage], 'x');
  EXPECT_EQ(alias[kPages * kPage - 1], 'a');
  std::ifstream smaps("/proc/self/smaps");
  char begin[24];
  std::snprintf(begin, sizeof begin, "%lx-", reinterpret_cast<unsigned long>(alias));
  std::string line, flags;
  while (std::getline(smaps, line) && !line.starts_with(begin)) continue;
  EXPECT_NE(line.find(" r--s "), std::string::npos) << line;
  while (std::getline(smaps, line) && !line.starts_with("VmFlags:")) continue;
  EXPECT_NE(line.find(" dc"), std::string::npos) << "proc_pid_smaps(5), no copy on fork: " << line;
  ::munmap(alias, rig.layout.length);
}

// mlockall(MCL_FUTURE) fills new mappings: with zeros, if they are made carelessly.
TEST(Exchange, UnderMlockallNothingIsFilledWithZeros) {
  {
    Rig probe;
    START_OR_SKIP(probe);
  }
  const int code = in_child([] {
    if (::mlockall(MCL_CURRENT | MCL_FUTURE) != 0) return errno == ENOMEM || errno == EPERM ? 77 : 1;
    Rig rig;
    if (!rig.start().ok()) return 2;
    if (!rig.freeze(1).ok()) return 3;
    for (std::uint64_t p = 0; p < kPages; p++) {
      if (rig.at(p) != 'a') return 4;  // the device would read zeros
    }
    rig.at(5) = 'x';
    if (!rig.exchange->thaw(1, soon()).ok()) return 5;
    for (std::uint64_t p = 0; p < kPages; p++) {
      if (rig.in_file(p) != (p == 5 ? 'x' : 'a')) return 6;
    }
    const CycleResult r = cycles(rig, 5);
    return r.failed.empty() && r.moved == 0 && r.lost == 0 ? 0 : 7;
  });
  if (code == 77) GTEST_SKIP() << "mlockall is not allowed here";
  EXPECT_EQ(code, 0);
}

TEST(Exchange, ForkingMeanwhileLosesNothing) {
  Rig rig;
  START_OR_SKIP(rig);
  const CycleResult r = cycles(rig, 20, [&] {
    EXPECT_EQ(in_child([&rig] {
                unsigned char resident;
                // MADV_DONTFORK: the child has nothing there.
                return ::mincore(rig.layout.base, kPage, &resident) == -1 && errno == ENOMEM ? 0 : 1;
              }),
              0);
  });
  EXPECT_EQ(r.failed, "");
  EXPECT_EQ(r.moved, 0);
  EXPECT_EQ(r.lost, 0u);
}

TEST(Exchange, OnlyWhatWasWrittenIsMerged) {
  Rig rig;
  START_OR_SKIP(rig);
  ASSERT_TRUE(rig.freeze(1).ok());
  int sum = 0;
  for (std::uint64_t p = 0; p < kPages; p++) sum += rig.at(p);
  EXPECT_EQ(sum, static_cast<int>(kPages) * 'a');
  rig.at(9) = 'z';
  ASSERT_TRUE(rig.exchange->thaw(1, soon()).ok());
  EXPECT_EQ(rig.exchange->stats().pages_merged, 1u);
  EXPECT_EQ(rig.in_file(9), 'z');
  EXPECT_EQ(rig.exchange->segments().all().size(), 1u);
}

TEST(Exchange, FreezeOfAPartTouchesOnlyThatPart) {
  Rig rig;
  START_OR_SKIP(rig);
  ASSERT_TRUE(rig.freeze(1, kFileOffset + 10 * kPage, 5 * kPage).ok());
  rig.at(9) = rig.at(10) = rig.at(14) = rig.at(15) = 'n';
  EXPECT_EQ(rig.in_file(9), 'n');
  EXPECT_EQ(rig.in_file(10), 'a');
  EXPECT_EQ(rig.in_file(14), 'a');
  EXPECT_EQ(rig.in_file(15), 'n');
  ASSERT_TRUE(rig.exchange->thaw(1, soon()).ok());
  EXPECT_EQ(rig.in_file(10), 'n');
  EXPECT_EQ(rig.in_file(14), 'n');
}

// A merge that fails, in a round and behind the gate: the device goes on with the store, and a later thaw has it all.
TEST(Exchange, FailedMergesKeepEverything) {
  for (int good = 0; good < 3; good++) {
    Rig rig;
    START_OR_SKIP(rig);
    Writers writers(rig);
    ASSERT_TRUE(rig.freeze(1).ok());
    writers.wait_for_stores(500);
    rig.daemon->fail_after = good;
    const Outcome thawed = rig.exchange->thaw(1, soon());
    writers.wait_for_stores(500);
    if (!thawed.ok()) {
      EXPECT_EQ(thawed.code, ENOSPC);
      rig.daemon->fail_after = -1;
      const Outcome again = rig.exchange->thaw(1, soon());
      ASSERT_TRUE(again.ok()) << again.text;
    }
    EXPECT_EQ(writers.lost(), 0u);
  }
}

// Nothing is written again afterwards, so that only what the failed round keeps can bring it to the file.
TEST(Exchange, MergeThatFailsInARoundIsMergedLater) {
  Rig rig;
  START_OR_SKIP(rig);
  ASSERT_TRUE(rig.freeze(1).ok());
  for (std::uint64_t p = 0; p < 3; p++) rig.at(p) = 'g';
  rig.daemon->fail_after = 0;
  EXPECT_EQ(rig.exchange->thaw(1, soon()).code, ENOSPC);
  EXPECT_EQ(rig.daemon->merges, 1);
  for (std::uint64_t p = 0; p < 3; p++) EXPECT_EQ(rig.in_file(p), 'a') << "still frozen";
  rig.daemon->fail_after = -1;
  ASSERT_TRUE(rig.exchange->thaw(1, soon()).ok());
  for (std::uint64_t p = 0; p < 3; p++) EXPECT_EQ(rig.in_file(p), 'g') << p;
}

// The device writes while the round's merge runs, so that the gate has something to merge; that fails. The gate is
// undone, the device goes on with the store, and the next thaw has it all.
TEST(Exchange, MergeThatFailsBehindTheGateIsMergedLater) {
  Rig rig;
  START_OR_SKIP(rig);
  ASSERT_TRUE(rig.freeze(1).ok());
  for (std::uint64_t p = 0; p < 3; p++) rig.at(p) = 'g';
  rig.daemon->during = [&](int nth) {
    if (nth == 1) rig.at(1) = 'h';
  };
  rig.daemon->fail_after = 1;
  EXPECT_EQ(rig.exchange->thaw(1, soon()).code, ENOSPC);
  EXPECT_EQ(rig.daemon->merges, 2);
  EXPECT_EQ(rig.at(1), 'h');
  rig.at(2) = 'i';
  EXPECT_EQ(rig.in_file(1), 'g');
  EXPECT_EQ(rig.in_file(2), 'g') << "still frozen";
  ASSERT_TRUE(rig.exchange->thaw(1, soon()).ok());
  EXPECT_EQ(rig.in_file(0), 'g');
  EXPECT_EQ(rig.in_file(1), 'h');
  EXPECT_EQ(rig.in_file(2), 'i');
}

// A slow file: as long as the last merge would stall the peer too long, there are more rounds.
TEST(Exchange, ALongStallIsNotStarted) {
  Rig rig;
  START_OR_SKIP(rig, 2);
  ASSERT_TRUE(rig.freeze(1).ok());
  for (std::uint64_t p = 0; p < 10; p++) rig.at(p) = 'g';
  // Ten pages are few, but each round takes 10 ms and so predicts more than half of the budget of 2 ms.
  rig.daemon->during = [&](int nth) {
    if (nth < 5) rig.at(static_cast<std::uint64_t>(nth)) = 'h';
    std::this_thread::sleep_for(std::chrono::milliseconds(10));  // the work that is scripted, not a wait for anything
  };
  ASSERT_TRUE(rig.exchange->thaw(1, soon()).ok());
  EXPECT_GE(rig.daemon->merges, 5);
  EXPECT_LT(rig.exchange->stats().stall_us_max, 10000u) << "the gate had nothing to merge";
  EXPECT_EQ(rig.in_file(4), 'h');
}

// Another daemon's rules may want it shorter.
TEST(Exchange, ABudgetThatIsSetLaterCounts) {
  Rig rig;
  START_OR_SKIP(rig, 10000);
  std::atomic<int> asked{0};
  rig.exchange->on_long_stall([&](Deadline) { asked++; });
  rig.exchange->set_budget(2);
  ASSERT_TRUE(rig.freeze(1).ok());
  rig.at(0) = 'g';
  rig.daemon->during = [&](int) {
    if (asked == 0) rig.at(0) = 'h';
    std::this_thread::sleep_for(std::chrono::milliseconds(10));  // the work that is scripted, not a wait for anything
  };
  ASSERT_TRUE(rig.exchange->thaw(1, Clock::now() + std::chrono::seconds(1)).ok());
  EXPECT_EQ(asked, 1);
}

// The same, and it does not get better: the application is asked before the gate is shut.
TEST(Exchange, AStallThatStaysLongIsAnnounced) {
  Rig rig;
  START_OR_SKIP(rig, 2);
  std::atomic<bool> quiet{false};
  int asked = 0;
  const Deadline until = Clock::now() + std::chrono::seconds(2);
  rig.exchange->on_long_stall([&](Deadline answer_by) {
    asked++;
    quiet = true;
    EXPECT_LT(answer_by, until) << "time is left for the gate";
  });
  ASSERT_TRUE(rig.freeze(1).ok());
  rig.at(0) = 'g';
  rig.daemon->during = [&](int) {
    for (std::uint64_t p = 0; p < 10 && !quiet; p++) rig.at(p) = 'h';
    std::this_thread::sleep_for(std::chrono::milliseconds(10));  // the work that is scripted, not a wait for anything
  };
  ASSERT_TRUE(rig.exchange->thaw(1, until).ok());
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(rig.in_file(9), 'h');
}

// The daemon is replaced while it merges: that took long, and the next merge does not.
TEST(Exchange, AnotherDaemonIsNoLongStall) {
  Rig rig;
  START_OR_SKIP(rig, 20);
  rig.look_on();
  ASSERT_TRUE(rig.freeze(1).ok());
  for (std::uint64_t p = 0; p < 10; p++) rig.at(p) = 'g';
  rig.daemon->during = [&](int nth) {
    if (nth != 1) return;
    rig.daemons++;
    for (std::uint64_t p = 0; p < 10; p++) rig.at(p) = 'h';
    std::this_thread::sleep_for(std::chrono::milliseconds(200));  // the work that is scripted, not a wait for anything
    rig.took_over = Clock::now();
  };
  // Late by then.
  ASSERT_TRUE(rig.exchange->thaw(1, Clock::now() + std::chrono::milliseconds(100)).ok());
  EXPECT_EQ(rig.asked, 0);
  EXPECT_EQ(rig.in_file(9), 'h');
}

// Nor does the time that it took to get another one make this one late: there are more rounds.
TEST(Exchange, AnotherDaemonBeginsTheTimeAnew) {
  Rig rig;
  START_OR_SKIP(rig, 2);
  rig.look_on();
  ASSERT_TRUE(rig.freeze(1).ok());
  for (std::uint64_t p = 0; p < 10; p++) rig.at(p) = 'g';
  rig.daemon->during = [&](int nth) {
    if (nth == 1) rig.daemons++;
    if (nth < 5) rig.at(static_cast<std::uint64_t>(nth)) = 'h';
    // The work that is scripted, not a wait for anything: half of the time goes by without a daemon, and each of the other merges
    // predicts more than half of the budget.
    std::this_thread::sleep_for(std::chrono::milliseconds(nth == 1 ? 2100 : 10));
    if (nth == 1) rig.took_over = Clock::now();
  };
  ASSERT_TRUE(rig.exchange->thaw(1, Clock::now() + std::chrono::seconds(4)).ok());
  EXPECT_EQ(rig.asked, 0);
  EXPECT_GE(rig.daemon->merges, 5);
  EXPECT_EQ(rig.in_file(4), 'h');
}

TEST(Exchange, TruncateBelowTheRegionLeavesOrphansAndGrowthTakesThemBack) {
  Rig rig;
  START_OR_SKIP(rig);
  const std::uint64_t cut = 100, new_size = kFileOffset + cut * kPage - 1000, tail = kFileOffset + 99 * kPage;
  rig.at(300) = 'k';
  ASSERT_TRUE(rig.freeze(1, tail, (kPages - 99) * kPage).ok());
  EXPECT_EQ(rig.at(300), 'k');  // the file still has it
  ASSERT_EQ(::ftruncate(rig.file.get(), static_cast<off_t>(new_size)), 0);
  rig.at(99, 10) = 'b';
  rig.at(200) = 'o';
  EXPECT_EQ(rig.at(400), 0) << "the file is short: zeros";
  ASSERT_TRUE(rig.exchange->settle(1, new_size, soon()).ok());
  EXPECT_EQ(rig.in_file(99, 10), 'b');
  EXPECT_EQ(rig.at(200), 'o');
  EXPECT_EQ(rig.at(450), 0);
  const auto& all = rig.exchange->segments().all();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1], (Segment{cut, kPages, Kind::Orphan, all[1].store}));
  ASSERT_EQ(::ftruncate(rig.file.get(), static_cast<off_t>(kFileOffset + kPages * kPage)), 0);
  ASSERT_TRUE(rig.exchange->orphans().extend(kPages).ok());
  EXPECT_EQ(rig.at(200), 0) << "what was written to an orphan is dropped";
  rig.at(200) = 'f';
  EXPECT_EQ(rig.in_file(200), 'f');
  EXPECT_EQ(rig.exchange->segments().all().size(), 1u);
}

TEST(Exchange, PreservedOrphansKeepWhatTheFileHad) {
  Rig rig;
  START_OR_SKIP(rig);
  ASSERT_TRUE(rig.freeze(1).ok());
  rig.at(50) = 'w';
  ASSERT_TRUE(rig.exchange->prefill(1, soon()).ok());
  ASSERT_EQ(::ftruncate(rig.file.get(), 0), 0);
  ASSERT_TRUE(rig.exchange->settle(1, 0, soon()).ok());
  EXPECT_EQ(rig.at(50), 'w');
  EXPECT_EQ(rig.at(50, 1), 'a');
  EXPECT_EQ(rig.at(kPages - 1), 'a');
}

TEST(Exchange, TruncateThatFailedIsThawed) {
  Rig rig;
  START_OR_SKIP(rig);
  ASSERT_TRUE(rig.freeze(1, kFileOffset + 8 * kPage, (kPages - 8) * kPage).ok());
  rig.at(77) = 't';
  ASSERT_TRUE(rig.exchange->settle(1, kFileOffset + kPages * kPage, soon()).ok());
  EXPECT_EQ(rig.in_file(77), 't');
  EXPECT_EQ(rig.exchange->segments().all().size(), 1u);
}

TEST(Exchange, AReadOnlyRegionIsTrimmedAndMergesNothing) {
  Rig rig;
  ASSERT_EQ(::mprotect(rig.layout.base, rig.layout.length, PROT_READ), 0);
  rig.layout.protection = PROT_READ;
  START_OR_SKIP(rig);
  rig.daemon->fail = EACCES;
  ASSERT_TRUE(rig.freeze(1).ok());
  const volatile char* page = &rig.at(5);
  EXPECT_EQ(*page, 'a');
  ASSERT_TRUE(rig.exchange->settle(1, kFileOffset + 10 * kPage, soon()).ok());
  EXPECT_EQ(*page, 'a');
  EXPECT_EQ(rig.daemon->merges, 0);
}

TEST(Exchange, NothingBeyondTheStoresEndIsMerged) {
  Rig rig;
  START_OR_SKIP(rig);
  // A lease that ends inside a page: 100 bytes of the second.
  Store store = rig.store(1, kFileOffset, 2 * kPage);
  store.end = kFileOffset + kPage + 100;
  ASSERT_TRUE(rig.exchange->freeze(std::move(store), kFileOffset, kPage + 100).ok());
  rig.at(1, 99) = rig.at(1, 100) = 'e';
  ASSERT_TRUE(rig.exchange->thaw(1, soon()).ok());
  EXPECT_EQ(rig.in_file(1, 99), 'e');
}

TEST(Exchange, TrimOverAFreezeTakesOverItsPages) {
  Rig rig;
  START_OR_SKIP(rig);
  ASSERT_TRUE(rig.freeze(1).ok());
  rig.at(10) = 'p';
  rig.at(20) = 'q';
  ASSERT_TRUE(rig.freeze(2, kFileOffset + 16 * kPage, (kPages - 16) * kPage).ok());
  EXPECT_EQ(rig.at(20), 'q');
  rig.at(21) = 'r';
  EXPECT_EQ(rig.in_file(20), 'a');
  ASSERT_TRUE(rig.exchange->settle(2, kFileOffset + kPages * kPage, soon()).ok());
  EXPECT_EQ(rig.in_file(20), 'q');
  EXPECT_EQ(rig.in_file(21), 'r');
  EXPECT_EQ(rig.in_file(10), 'a') << "still frozen";
  ASSERT_TRUE(rig.exchange->thaw(1, soon()).ok());
  EXPECT_EQ(rig.in_file(10), 'p');
}

// What a fenced region must survive: pages poisoned by the daemon, its merges refused, somebody waiting.
TEST(Exchange, RestoreAfterAFenceMakesTheMappingUsable) {
  Rig rig;
  START_OR_SKIP(rig);
  ASSERT_TRUE(rig.freeze(1).ok());
  rig.at(3) = 'c';
  ASSERT_EQ(rig.resolver->userfaultfd().poison(reinterpret_cast<std::uint64_t>(&rig.at(7))), 0);
  rig.daemon->fail = EKEYREVOKED;
  EXPECT_EQ(rig.exchange->thaw(1, soon()).code, EKEYREVOKED);
  ASSERT_TRUE(rig.exchange->restore().ok());
  EXPECT_EQ(rig.at(7), 'a');
  rig.at(7) = 'd';
  EXPECT_EQ(rig.in_file(7), 'd');
}

TEST(Exchange, RestoreAfterAFailedMergeKeepsWhatWasWritten) {
  Rig rig;
  START_OR_SKIP(rig);
  ASSERT_TRUE(rig.freeze(1).ok());
  rig.at(3) = 'c';
  rig.at(4) = 'd';
  rig.at(9) = 'e';
  rig.daemon->fail = ENOSPC;
  EXPECT_EQ(rig.exchange->thaw(1, soon()).code, ENOSPC);
  rig.daemon->fail = EKEYREVOKED;  // fenced for that
  EXPECT_EQ(rig.exchange->thaw(1, soon()).code, EKEYREVOKED);
  ASSERT_EQ(rig.resolver->userfaultfd().poison(reinterpret_cast<std::uint64_t>(&rig.at(7))), 0);
  ASSERT_TRUE(rig.exchange->restore().ok());
  ASSERT_TRUE(rig.exchange->restore().ok()) << "mrl_dereg() does it again";
  EXPECT_EQ(rig.at(3), 'c');
  EXPECT_EQ(rig.at(4), 'd');
  EXPECT_EQ(rig.at(9, 1), 'a');
  EXPECT_EQ(rig.at(9), 'e');
  EXPECT_EQ(rig.in_file(3), 'a');
  rig.at(7) = 'f';
  EXPECT_EQ(rig.in_file(7), 'f') << "the file's own page";
}

// Two holders of one store in one process (two regions of the same file range): they agree on every page.
TEST(Exchange, TwoHoldersOfOneStoreAgree) {
  Rig rig;
  START_OR_SKIP(rig);
  Layout second = rig.layout;
  ASSERT_TRUE(map_file(second, 0, kPages, second.protection, false, &second.base).ok());
  {
    Exchange other(
        *rig.resolver, rig.pagemap, second, [&](const Store& s, const auto& r) { return rig.daemon->merge(s, r); },
        200);
    ASSERT_TRUE(other.start().ok());
    Store mine = rig.store(1, kFileOffset, kPages * kPage);
    Store its{1, wire::Fd(::dup(mine.memfd.get())), kFileOffset};
    ASSERT_TRUE(rig.exchange->freeze(std::move(mine), kFileOffset, kPages * kPage).ok());
    rig.at(4) = 'm';
    ASSERT_TRUE(other.freeze(std::move(its), kFileOffset, kPages * kPage).ok());
    EXPECT_EQ(second.base[4 * kPage], 'm');
    second.base[5 * kPage] = 'i';
    EXPECT_EQ(rig.at(5), 'i');
    EXPECT_EQ(rig.in_file(4), 'a');
    ASSERT_TRUE(rig.exchange->thaw(1, soon()).ok());
    ASSERT_TRUE(other.thaw(1, soon()).ok());
    EXPECT_EQ(rig.in_file(4), 'm');
    EXPECT_EQ(rig.in_file(5), 'i');
  }
  ::munmap(second.base, second.length);
}

}  // namespace
}  // namespace mrlease::client
