// SPDX-License-Identifier: Apache-2.0
// What the daemon makes of memory regions that it cannot destroy, on a device that is none (stand_in_device.h): their owner is killed. The
// rig has real ones.
#include <cstring>
#include <thread>

#include "tests/integration/daemon/fixture.h"
#include "tests/integration/daemon/stand_in_device.h"

namespace mrlease::test {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

class FencesTest : public DaemonTest {
 protected:
  static constexpr std::uint32_t kHandle = 7;

  void SetUp() override {
    DaemonTest::SetUp();
    if (IsSkipped()) return;
    start({"--recall-deadline-ms", "600", "--fence-deadline-ms", "500"}, see_stand_in_device);
    ASSERT_EQ(::pipe2(told, O_CLOEXEC), 0);
  }
  void TearDown() override {
    holder.reset();
    for (const int end : told) ::close(end);
  }
  // In a process of its own: leases the file, with one memory region, does `then`, and is not heard of any more.
  void hold(const std::function<void(WireClient&, std::uint64_t lease, std::uint32_t device)>& then) {
    holder = std::make_unique<Child>([&] {
      const wire::Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
      WireClient mine(daemon->socket());
      const std::uint64_t lease = mine.lease(file.get(), v1::BACKING_DIRECT, 0, kSize).frame.granted().lease();
      const std::uint32_t device = add_stand_in_device(mine);
      if (add_mr(mine, lease, device, kHandle).code() != 0) return 1;
      then(mine, lease, device);
      if (::write(told[1], "x", 1) != 1) return 2;
      for (;;) ::pause();
    });
    ::close(std::exchange(told[1], -1));
    char x = 0;
    ASSERT_EQ(::read(told[0], &x, 1), 1) << holder->wait();
  }
  int told[2] = {-1, -1};
  std::unique_ptr<Child> holder;
};

// He was told that he may deregister it, and the daemon has no handle of it any more: it may be there until he has ended.
TEST_F(FencesTest, WhoStopsBetweenTheYesAndItsDeregistrationIsKilled) {
  hold([](WireClient& mine, std::uint64_t lease, std::uint32_t device) {
    if (remove_mr(mine, lease, device, kHandle).code() != 0) throw std::runtime_error("remove_mr");
  });
  EXPECT_EQ(truncate_by_other(4096)->wait(milliseconds(10000)), 0);
  EXPECT_EQ(holder->wait(milliseconds(5000)), 128 + SIGKILL);
}

// He complies with what he could, and says that it is gone: there is nothing to kill him for, and what his mapping holds is nowhere else.
TEST_F(FencesTest, WhoRefusesAndHasDeregisteredLives) {
  Child other([&] {
    const wire::Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    WireClient mine(daemon->socket());
    const std::uint64_t lease = mine.lease(file.get(), v1::BACKING_DIRECT, 0, kSize).frame.granted().lease();
    const std::uint32_t device = add_stand_in_device(mine);
    if (add_mr(mine, lease, device, kHandle).code() != 0) return 1;
    if (::write(told[1], "x", 1) != 1) return 2;
    const v1::Recall recall = mine.recall().frame.recall();
    if (remove_mr(mine, lease, device, kHandle).code() != 0) return 3;
    wire::Frame refusal;
    refusal.mutable_recall_done()->set_recall(recall.recall());
    refusal.mutable_recall_done()->set_code(EIO);
    refusal.mutable_recall_done()->set_deregistered(true);
    mine.send(std::move(refusal));
    for (auto message = mine.next(); message; message = mine.next())
      if (message->frame.notice().kind() == v1::Notice::FENCED) return 0;
    return 4;
  });
  char x = 0;
  ASSERT_EQ(::read(told[0], &x, 1), 1);
  EXPECT_EQ(truncate_by_other(4096)->wait(milliseconds(10000)), 0);
  EXPECT_EQ(other.wait(milliseconds(10000)), 0);
}

// The end of a connection is not the end of its process, nor of who has inherited its device: the memory region is destroyed through
// the duplicate, which is closed after that.
TEST_F(FencesTest, ASessionThatEndsIsFencedThroughItsDuplicate) {
  hold([](WireClient& mine, std::uint64_t, std::uint32_t) { mine.hang_up(); });
  EXPECT_EQ(holder->wait(milliseconds(10000)), 128 + SIGKILL);
  // ENOTTY: /dev/null has heard of it. A descriptor that was closed before would say EBADF. It is told after the kill.
  EXPECT_TRUE(daemon->says("could not be destroyed"));
  const std::string log = daemon->log();
  EXPECT_NE(log.find("1 could not be destroyed: " + std::string(std::strerror(ENOTTY))), std::string::npos) << log;
}

}  // namespace mrlease::test
