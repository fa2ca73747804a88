// SPDX-License-Identifier: Apache-2.0
// Foreign operations of another process against a lease whose client complies, hangs, lies or dies.
#include <optional>
#include <thread>

#include "tests/integration/daemon/fixture.h"

namespace mrlease::test {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

class BreaksTest : public DaemonTest {
 protected:
  std::uint64_t lease(v1::Backing backing = v1::BACKING_ODP_TRANSPARENT) {
    return client->lease(fd.get(), backing, 0, kSize).frame.granted().lease();
  }
};

TEST_F(BreaksTest, TruncateIsHeldUntilTheClientHasComplied) {
  start();
  lease();
  auto other = truncate_by_other(4096);
  const Message trim = client->recall();
  EXPECT_EQ(trim.frame.recall().action(), v1::ACTION_TRIM);
  EXPECT_EQ(trim.frame.recall().reason(), v1::REASON_TRUNCATE);
  EXPECT_EQ(trim.frame.recall().offset(), 4096u);
  EXPECT_EQ(trim.frame.recall().size(), 4096u);
  ASSERT_EQ(trim.fds.size(), 1u);
  EXPECT_TRUE(other->running());
  EXPECT_EQ(size(), kSize);
  client->comply(trim.frame.recall());
  EXPECT_EQ(other->wait(), 0);
  const Message settle = client->recall();
  EXPECT_EQ(settle.frame.recall().action(), v1::ACTION_SETTLE);
  EXPECT_EQ(settle.frame.recall().size(), 4096u);
  EXPECT_EQ(settle.frame.recall().store(), trim.frame.recall().store());
  client->comply(settle.frame.recall());
}

// Its own thread is nobody to be spared: a device reaches the pages all the same.
TEST_F(BreaksTest, TheOwnersOwnTruncateIsHeldToo) {
  start();
  lease();
  std::optional<v1::Recall> trim;
  std::uint64_t size_before = 0;
  std::thread serves([&] {
    try {
      trim = client->recall().frame.recall();
      size_before = size();
      client->comply(*trim);
    } catch (const std::exception&) {  // none came
    }
  });
  EXPECT_EQ(::truncate(path.c_str(), 4096), 0);
  serves.join();
  ASSERT_TRUE(trim) << "it was let through";
  EXPECT_EQ(trim->action(), v1::ACTION_TRIM);
  EXPECT_EQ(size_before, kSize);
}

TEST_F(BreaksTest, AnOpenThatTruncatesIsHeld) {
  start();
  lease();
  Child other([p = path] { return ::open(p.c_str(), O_WRONLY | O_TRUNC) >= 0 ? 0 : errno; });
  const Message trim = client->recall();
  EXPECT_EQ(trim.frame.recall().offset(), 0u);
  EXPECT_EQ(size(), kSize);
  client->comply(trim.frame.recall());
  EXPECT_EQ(other.wait(), 0);
  const Message settle = client->recall();
  EXPECT_EQ(settle.frame.recall().size(), 0u);
  client->comply(settle.frame.recall());
}

TEST_F(BreaksTest, AnOperationThatFailsAfterwardsLeavesTheRangeOnTheFile) {
  start();
  lease();
  // Allowed by the daemon, refused by the kernel: RLIMIT_FSIZE does not matter downwards, a seal does not exist on ext4;
  // a truncate killed while held never runs.
  auto other = truncate_by_other(4096);
  const Message trim = client->recall();
  other->kill(SIGKILL);
  EXPECT_EQ(other->wait(), 128 + SIGKILL);
  client->comply(trim.frame.recall());
  const Message settle = client->recall();
  EXPECT_EQ(settle.frame.recall().action(), v1::ACTION_SETTLE);
  EXPECT_EQ(settle.frame.recall().size(), kSize);
  client->comply(settle.frame.recall());
  EXPECT_EQ(size(), kSize);
}

TEST_F(BreaksTest, AClientThatHangsIsFencedAndTheOperationGoesOn) {
  start({"--recall-deadline-ms", "300", "--fence-deadline-ms", "250"});
  const std::uint64_t id = lease();
  auto other = truncate_by_other(4096);
  const Message trim = client->recall();
  EXPECT_LE(trim.frame.recall().deadline_ms(), 300u);
  EXPECT_EQ(other->wait(milliseconds(5000)), 0);
  const auto notice = client->next();
  ASSERT_TRUE(notice && notice->frame.has_notice());
  EXPECT_EQ(notice->frame.notice().kind(), v1::Notice::FENCED);
  EXPECT_EQ(notice->frame.notice().lease(), id);
  // A late answer changes nothing; the lease is to be released, and a new one can be had.
  client->comply(trim.frame.recall());
  EXPECT_EQ(status(release(id)).code(), EKEYREVOKED);
  EXPECT_NE(client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096).frame.granted().lease(), id);
}

TEST_F(BreaksTest, WithThePolicyKillAClientThatHangsIsKilledAndTheOperationGoesOn) {
  start({"--on-timeout", "kill", "--recall-deadline-ms", "300", "--fence-deadline-ms", "250"});
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  Child holder([&] {
    const wire::Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    WireClient hangs(daemon->socket());
    hangs.lease(file.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
    if (::write(ready[1], "x", 1) != 1) return 1;
    for (;;) ::pause();
  });
  ::close(ready[1]);  // the read ends when the holder does
  char x = 0;
  ASSERT_EQ(::read(ready[0], &x, 1), 1) << holder.wait();
  ::close(ready[0]);
  EXPECT_EQ(truncate_by_other(4096)->wait(milliseconds(5000)), 0);
  EXPECT_EQ(holder.wait(), 128 + SIGKILL);
  EXPECT_EQ(size(), 4096u);
}

TEST_F(BreaksTest, AnAnswerForAnotherSessionsLeaseIsIgnored) {
  start({"--recall-deadline-ms", "1000", "--fence-deadline-ms", "100"});
  lease();
  auto other = truncate_by_other(4096);
  const Message trim = client->recall();
  WireClient liar(daemon->socket());
  liar.comply(trim.frame.recall());
  wire::Frame probe;  // the liar's frame has been worked off when this is answered
  probe.mutable_thaw_file()->set_freeze(1);
  liar.call(std::move(probe));
  EXPECT_TRUE(other->running());
  EXPECT_EQ(size(), kSize);
  client->comply(trim.frame.recall());
  EXPECT_EQ(other->wait(), 0);
}

TEST_F(BreaksTest, AClientThatGoesAwayDoesNotHoldTheOperation) {
  start({"--recall-deadline-ms", "20000"});
  lease();
  auto other = truncate_by_other(4096);
  client->recall();
  client->hang_up();
  EXPECT_EQ(other->wait(milliseconds(5000)), 0);
}

TEST_F(BreaksTest, DenyAnswersEbusyAndLosesNoLease) {
  start({"--on-timeout", "deny", "--recall-deadline-ms", "200", "--fence-deadline-ms", "100"});
  const std::uint64_t id = lease();
  auto other = truncate_by_other(4096);
  const Message trim = client->recall();
  EXPECT_EQ(other->wait(), EBUSY);
  EXPECT_EQ(size(), kSize);
  client->comply(trim.frame.recall());
  const Message settle = client->recall();
  EXPECT_EQ(settle.frame.recall().size(), kSize);
  client->comply(settle.frame.recall());
  EXPECT_EQ(status(release(id)).code(), 0);
}

TEST_F(BreaksTest, ReadsAndWritesOfAnOdpLeaseAreNotHeld) {
  start();
  lease();
  Child other([p = path] {
    const int f = ::open(p.c_str(), O_RDWR);
    char c;
    return ::pread(f, &c, 1, 0) == 1 && ::pwrite(f, "w", 1, 0) == 1 ? 0 : errno;
  });
  EXPECT_EQ(other.wait(), 0);
  EXPECT_FALSE(client->next(milliseconds(0)));
}

TEST_F(BreaksTest, DirectIsQuiescedForAHoleAndRegisteredAgain) {
  start();
  lease(v1::BACKING_DIRECT);
  Child other([p = path] {
    const int f = ::open(p.c_str(), O_RDWR);
    return ::fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192) == 0 ? 0 : errno;
  });
  const Message quiesce = client->recall();
  EXPECT_EQ(quiesce.frame.recall().action(), v1::ACTION_QUIESCE);
  EXPECT_EQ(byte_at(4096), 'a');
  client->comply(quiesce.frame.recall());
  EXPECT_EQ(other.wait(), 0);
  const Message again = client->recall();
  EXPECT_EQ(again.frame.recall().action(), v1::ACTION_REREGISTER);
  EXPECT_EQ(again.frame.recall().size(), kSize);
  client->comply(again.frame.recall());
  EXPECT_EQ(byte_at(4096), '\0');
}

TEST_F(BreaksTest, ADaemonThatIsKilledDoesNotHoldAnybody) {
  start();
  lease();
  auto other = truncate_by_other(4096);
  client->recall();
  daemon->stop(SIGKILL);
  EXPECT_EQ(other->wait(milliseconds(5000)), 0);
  EXPECT_FALSE(client->next());  // the connection has ended
}

}  // namespace mrlease::test
