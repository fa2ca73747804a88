// SPDX-License-Identifier: Apache-2.0
// kill -9 of the daemon between the kernel's hand-over of an operation and the daemon's own note of it. What was read it leaves in the journal,
// but for the file, which it had not looked at.
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include "tests/integration/daemon/kept_fixture.h"
#include "tests/integration/daemon/killed_in_read.h"
#include "tests/support/foreign.h"
#include "tests/support/sharer.h"

namespace mrlease::test {

using std::chrono::milliseconds;

class UnnotedTest : public KeptTest {
 protected:
  void SetUp() override {
    KeptTest::SetUp();
    start_service();
    connect();
    client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  }
  // The daemon gets the operations that `begin` begins, all in one read, and is killed before it has noted them.
  void kill_when_it_gets(const std::function<void()>& begin, std::size_t count = 1) {
    ASSERT_TRUE(kill_in_read(manager->pid(), begin, [this] {
      std::uint32_t reading = 0;  // daemon/guard/journal.cc, Layout::reading
      return ::pread(manager->kept("journal"), &reading, sizeof reading, 8) == sizeof reading && reading != 0;
    }));
    manager->kill(SIGKILL);
    const auto memory = kept_memory("journal", guard::Journal::bytes());
    EXPECT_TRUE(guard::Journal(memory.get()).orphans().empty()) << "it had noted it";
    std::vector<char> copy(guard::Journal::bytes());
    std::memcpy(copy.data(), memory.get(), copy.size());
    guard::Journal journal(copy.data());
    journal.note_read();
    EXPECT_EQ(journal.orphans().size(), count);
  }
  // Who is held in this while the guard is stopped.
  static void held(Foreign& who, long call) {
    who.next();
    EXPECT_TRUE(who.blocked_in(call));
  }
  std::unique_ptr<Foreign> truncated(const std::string& file, off_t size) {
    auto who = std::make_unique<Foreign>(std::vector<Foreign::Step>{[file, size] { return outcome(::truncate(file.c_str(), size)); }});
    held(*who, SYS_truncate);
    return who;
  }
  // Who has it open: an open would be held as well.
  static std::unique_ptr<Foreign> has_open(const std::string& file, std::function<int(int)> then) {
    const auto own = std::make_shared<int>(-1);
    auto who = std::make_unique<Foreign>(std::vector<Foreign::Step>{
        [own, file] { return outcome(*own = ::open(file.c_str(), O_RDWR | O_CLOEXEC)); }, [own, then = std::move(then)] { return then(*own); }});
    who->next();
    EXPECT_EQ(who->result(), 0);
    return who;
  }
  static std::unique_ptr<Foreign> reader(const std::string& file) {
    return has_open(file, [](int own) {
      char c = 0;
      return outcome(::pread(own, &c, 1, 0));
    });
  }
  static std::unique_ptr<Foreign> writer(const std::string& file) {
    return has_open(file, [](int own) { return outcome(::pwrite(own, "w", 1, 0)); });
  }
  wire::Fd lease_of(const std::string& name, v1::Backing backing = v1::BACKING_ODP_TRANSPARENT) {
    wire::Fd other(::open(directory->file(name, kSize).c_str(), O_RDWR | O_CLOEXEC));
    client->lease(other.get(), backing, 0, kSize);
    return other;
  }
  void freeze() {
    ask_freeze();
    comply_with(v1::ACTION_FREEZE);
    const auto answer = client->next();
    ASSERT_TRUE(answer && answer->frame.has_frozen());
    frozen = answer->frame.frozen().freeze();
  }
  void comply_with(v1::Action asked) {
    const Message m = client->recall();
    ASSERT_EQ(m.frame.recall().action(), asked) << manager->log();
    client->comply(m.frame.recall());
  }

  std::uint64_t frozen = 0;  // by freeze()
};

TEST_F(UnnotedTest, ATruncateIsHeldOnForItsOwnNewEnd) {
  std::unique_ptr<Foreign> other;
  kill_when_it_gets([&] { other = truncated(path, 4096); });
  manager->start();
  resume();
  const Message trim = client->recall();
  ASSERT_EQ(trim.frame.recall().action(), v1::ACTION_TRIM) << manager->log();
  EXPECT_EQ(trim.frame.recall().size(), 4096u);
  EXPECT_FALSE(other->done());
  EXPECT_EQ(size(), kSize);
  client->comply(trim.frame.recall());
  EXPECT_EQ(other->result(), 0) << manager->log();
  EXPECT_EQ(size(), 4096u);
  comply_with(v1::ACTION_SETTLE);
}

// A successor that is killed as well leaves it to the next one.
TEST_F(UnnotedTest, ItIsHeldOnAfterTwoKills) {
  std::unique_ptr<Foreign> other;
  kill_when_it_gets([&] { other = truncated(path, 4096); });
  manager->start();
  resume();
  ASSERT_EQ(client->recall().frame.recall().action(), v1::ACTION_TRIM) << manager->log();
  replace_daemon();
  resume();
  comply_with(v1::ACTION_SETTLE);  // of the trim that was begun
  const Message trim = client->recall();
  ASSERT_EQ(trim.frame.recall().action(), v1::ACTION_TRIM) << manager->log();
  EXPECT_EQ(size(), kSize);
  client->comply(trim.frame.recall());
  EXPECT_EQ(other->result(), 0) << manager->log();
  EXPECT_EQ(size(), 4096u);
}

// A client's own thread may be held so, in what it was recalled for: it must not have to comply before it goes on.
TEST_F(UnnotedTest, WhoReadsOrWritesWaitsForNoClient) {
  const auto reads = reader(path), writes = writer(path);
  kill_when_it_gets([&] {
    held(*writes, SYS_pwrite64);
    held(*reads, SYS_pread64);
  }, 2);
  manager->start();
  EXPECT_EQ(writes->result(), 0) << manager->log();
  EXPECT_EQ(reads->result(), 0) << manager->log();
  resume();
  EXPECT_FALSE(client->next(milliseconds(200))) << "nothing was to be asked of it\n" << manager->log();
}

// By its name nobody knows which file it is of: the leases of each get out of its way.
TEST_F(UnnotedTest, OneOfAnyFileWaitsForAll) {
  const wire::Fd second = lease_of("second");
  std::unique_ptr<Foreign> other;
  kill_when_it_gets([&] { other = truncated(path, 4096); });
  manager->start();
  resume();
  comply_with(v1::ACTION_TRIM);
  EXPECT_FALSE(other->done(200)) << "the other file's lease is not out of its way";
  comply_with(v1::ACTION_TRIM);
  EXPECT_EQ(other->result(), 0) << manager->log();
  EXPECT_EQ(size(), 4096u);
  comply_with(v1::ACTION_SETTLE);
  comply_with(v1::ACTION_SETTLE);
}

TEST_F(UnnotedTest, SeveralOfOneReadEachGoOn) {
  const auto writes = writer(path);
  std::vector<std::unique_ptr<Foreign>> all;
  kill_when_it_gets([&] {
    all.push_back(truncated(path, 8192));
    held(*writes, SYS_pwrite64);
    all.push_back(truncated(path, 4096));
  }, 3);
  manager->start();
  EXPECT_EQ(writes->result(), 0) << manager->log();
  resume();
  for (int i = 0; i < 2; i++) {
    comply_with(v1::ACTION_TRIM);
    comply_with(v1::ACTION_SETTLE);
  }
  for (const auto& each : all) EXPECT_EQ(each->result(), 0) << manager->log();
}

TEST_F(UnnotedTest, WhoWasKilledMeanwhileIsWaitedForByNobody) {
  std::unique_ptr<Foreign> other;
  kill_when_it_gets([&] { other = truncated(path, 4096); });
  other->kill();
  manager->start();
  resume();
  EXPECT_FALSE(client->next(milliseconds(200))) << manager->log();
  auto next = truncate_to(8192);  // and events are read
  comply_with(v1::ACTION_TRIM);
  EXPECT_EQ(next->wait(), 0) << manager->log();
}

// It goes on when all have answered; a kill in between leaves that as it was.
TEST_F(UnnotedTest, WhatHasCompliedComesBackAndIsAskedAgainAfterAKill) {
  const wire::Fd second = lease_of("second");
  std::unique_ptr<Foreign> other;
  kill_when_it_gets([&] { other = truncated(path, 4096); });
  manager->start();
  resume();
  comply_with(v1::ACTION_TRIM);
  ASSERT_EQ(client->recall().frame.recall().action(), v1::ACTION_TRIM);
  const auto memory = kept_memory("journal", guard::Journal::bytes());
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (guard::Journal(memory.get()).passing().empty() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  ASSERT_EQ(guard::Journal(memory.get()).passing().size(), 1u) << "one of two";
  replace_daemon();
  resume();
  comply_with(v1::ACTION_SETTLE);
  comply_with(v1::ACTION_SETTLE);
  comply_with(v1::ACTION_TRIM);
  EXPECT_FALSE(other->done(200)) << "half of it is not enough";
  EXPECT_EQ(size(), kSize);
  comply_with(v1::ACTION_TRIM);
  EXPECT_EQ(other->result(), 0) << manager->log();
}

// Like every operation that may change a frozen file it waits for the thaw.
TEST_F(UnnotedTest, AFreezeIsKept) {
  freeze();
  const auto writes = writer(path);
  kill_when_it_gets([&] { held(*writes, SYS_pwrite64); });
  manager->start();
  resume();
  EXPECT_FALSE(writes->done(300)) << "the file is frozen\n" << manager->log();
  ask_thaw(frozen);
  comply_with(v1::ACTION_THAW);
  EXPECT_EQ(writes->result(), 0) << manager->log();
}

// All others would be out of its way until the thaw of a file that it may not be of.
TEST_F(UnnotedTest, OneOfAnyFileEndsAFreeze) {
  freeze();
  const wire::Fd second = lease_of("second");
  std::unique_ptr<Foreign> other;
  kill_when_it_gets([&] { other = truncated(directory->path("second"), 4096); });
  manager->start();
  resume();
  int thaws = 0;
  while (!other->done(0)) {
    const Message m = client->recall();
    thaws += m.frame.recall().action() == v1::ACTION_THAW;
    client->comply(m.frame.recall());
    other->done(50);
  }
  EXPECT_EQ(other->result(), 0) << manager->log();
  EXPECT_EQ(thaws, 1);
  wire::Frame thaw;
  thaw.mutable_thaw_file()->set_freeze(frozen);
  EXPECT_EQ(status(client->call(std::move(thaw))).code(), ETIMEDOUT) << "who had it is told";
}

class UnnotedDenyTest : public UnnotedTest {
 protected:
  UnnotedDenyTest() { options = {"--on-timeout", "deny"}; }
};

TEST_F(UnnotedDenyTest, OneClientThatRefusesIsEnough) {
  const wire::Fd second = lease_of("second");
  std::unique_ptr<Foreign> other;
  kill_when_it_gets([&] { other = truncated(path, 4096); });
  manager->start();
  resume();
  comply_with(v1::ACTION_TRIM);
  client->comply(client->recall().frame.recall(), EPERM);
  EXPECT_EQ(other->result(), EBUSY) << manager->log();
  EXPECT_EQ(size(), kSize);
}

// What the daemon does to a file for it, through a descriptor of which events come, is held for nobody; and it is done before.
TEST_F(UnnotedTest, TheDaemonsOwnWorkComesFirstAndIsNotHeldUp) {
  wire::Fd bounced(::open(directory->file("bounced", kSize).c_str(), O_RDWR | O_CLOEXEC));
  const Message granted = client->lease(bounced.get(), v1::BACKING_BOUNCE, 0, kSize);
  ASSERT_EQ(::pwrite(granted.fds[0].get(), "RDMA", 4, 0), 4);
  const auto reads = has_open(directory->path("bounced"), [](int own) {
    char c = 0;
    return ::pread(own, &c, 1, 0) == 1 ? c : -errno;
  });
  kill_when_it_gets([&] { held(*reads, SYS_pread64); });
  manager->start();
  EXPECT_EQ(reads->result(), 'R') << manager->log();
  EXPECT_EQ(manager->log().find("overran"), std::string::npos) << manager->log();
}

// The number in its register may be another file's by now.
TEST_F(UnnotedTest, AReadThroughADescriptorThatWasExchangedMayBeOfAnyFile) {
  const wire::Fd bounced(::open(directory->file("bounced", kSize).c_str(), O_RDWR | O_CLOEXEC));
  const Message granted = client->lease(bounced.get(), v1::BACKING_BOUNCE, 0, kSize);
  ASSERT_EQ(::pwrite(granted.fds[0].get(), "RDMA", 4, 0), 4);
  const auto reads = has_open(directory->path("bounced"), [](int own) {
    char c = 0;
    ::prctl(PR_SET_DUMPABLE, 1);  // it is looked at
    const Sharer exchanges([own] {
      while (!is_in(::getppid(), SYS_pread64)) std::this_thread::yield();
      return ::dup2(STDIN_FILENO, own) == own ? 0 : errno;
    });
    const int got = ::pread(own, &c, 1, 0) == 1 ? c : -errno;
    if (exchanges.result() != 0) return -EIO;
    return got;
  });
  const auto has_it = [&] {
    for (const auto& each : std::filesystem::directory_iterator("/proc/" + std::to_string(reads->pid()) + "/fd"))
      if (std::error_code none; std::filesystem::read_symlink(each.path(), none) == directory->path("bounced")) return true;
    return false;
  };
  kill_when_it_gets([&] {
    held(*reads, SYS_pread64);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (has_it() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  });
  manager->start();
  resume();
  comply_with(v1::ACTION_TRIM);
  EXPECT_EQ(reads->result(), 'R') << manager->log();
  comply_with(v1::ACTION_SETTLE);
}

}  // namespace mrlease::test
