// SPDX-License-Identifier: Apache-2.0
// Clients that are stopped, killed, forked, or locked into memory, on real verbs: nobody waits longer than the bound, no
// device reaches what it must not, and nothing acknowledged is lost.
// $MRLEASE_BACKINGS: the backings that this kernel has, of direct, odp, bounce.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <sstream>

#include "tests/vm/hostile/actors.h"

namespace mrlease::test {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr std::size_t kSize = 4 << 20;
constexpr std::size_t kPages = kSize / 4096;
constexpr milliseconds kRecall{1000};

std::vector<mrl_backing> backings(std::initializer_list<mrl_backing> wanted) {
  const char* list = std::getenv("MRLEASE_BACKINGS");
  std::istringstream words(list != nullptr ? list : "");
  std::vector<mrl_backing> found;
  for (std::string word; std::getline(words, word, ',');)
    for (const mrl_backing b : wanted)
      if (word == mrl_backing_name(b)) found.push_back(b);
  return found;
}

}  // namespace

class HostileTest : public ::testing::TestWithParam<mrl_backing> {
 protected:
  void start(std::vector<std::string> more = {}, bool lock_memory = false, bool comply_slowly = true) {
    std::vector<std::string> words = {"--freeze-conflict", "thaw", "--fence-deadline-ms", "500"};
    if (comply_slowly) words.insert(words.end(), {"--recall-deadline-ms", std::to_string(kRecall.count())});
    words.insert(words.end(), more.begin(), more.end());
    daemon = std::make_unique<DaemonProcess>(directory, words);
    options.daemon_socket = daemon->socket();
    options.file = directory.file("data", kSize);
    options.size = kSize;
    options.backing = GetParam();
    options.lock_memory = lock_memory;
    client = std::make_unique<Client>(options);
    peer = std::make_unique<Peer>(*client);
    ASSERT_EQ(peer->write(client->hello, 1, 0x11), IBV_WC_SUCCESS);
  }
  void TearDown() override {
    if (HasFailure() && daemon) std::cout << daemon->log();
  }
  // Opened for each look: the lease guard holds nothing while somebody has the file open.
  std::uint64_t stamp_at(std::size_t page) const {
    std::uint64_t s = 0;
    const int fd = ::open(options.file.c_str(), O_RDONLY | O_CLOEXEC);
    const bool whole = ::pread(fd, &s, sizeof s, static_cast<off_t>(page * 4096)) == sizeof s;
    ::close(fd);
    return whole ? s : ~0ull;
  }
  std::unique_ptr<Child> truncate_by_other(off_t to) {
    return std::make_unique<Child>([p = options.file, to] { return ::truncate(p.c_str(), to) == 0 ? 0 : errno; });
  }
  // The truncate returns within the bound, the peer gets an access error, and the client lives on and knows.
  void expect_fenced_by_truncate() {
    const auto begin = steady_clock::now();
    auto other = truncate_by_other(8192);
    EXPECT_EQ(other->wait(milliseconds(30000)), 0);
    const auto waited = std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin);
    EXPECT_LE(waited, kRecall + milliseconds(1000));
    std::cout << "truncate waited " << waited.count() << " ms\n";
    EXPECT_EQ(peer->write(client->hello, 0, 0x22), IBV_WC_REM_ACCESS_ERR);
    client->process().kill(SIGCONT);
    EXPECT_EQ(client->ask({Order::AwaitFenced}).code, 0);
    EXPECT_EQ(client->ask({Order::Info}).fenced, 1);
    client->ask({Order::Quit});
    EXPECT_EQ(client->process().wait(), 0);
  }
  // Memory regions on all devices, as the kernel counts them (rdma-resource(8)).
  static int memory_regions() {
    FILE* pipe = ::popen("rdma resource show", "r");
    int total = 0;
    char word[64];
    while (std::fscanf(pipe, "%63s", word) == 1)
      if (int n = 0; std::string(word) == "mr" && std::fscanf(pipe, "%d", &n) == 1) total += n;
    ::pclose(pipe);
    return total;
  }
  // Kill the client; how long its leased memory region outlived it.
  milliseconds kill_and_time() {
    const int before = memory_regions();
    client->process().kill(SIGKILL);
    const auto begin = steady_clock::now();
    // Asking is the only way to learn it: the kernel tells nobody when a memory region goes.
    while (memory_regions() >= before && steady_clock::now() - begin < std::chrono::seconds(20)) {
    }
    return std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin);
  }
  // What was acknowledged reaches the file soon after the client's end.
  bool comes_to_file(std::size_t page, std::uint64_t stamp) const {
    for (const auto deadline = steady_clock::now() + std::chrono::seconds(10); steady_clock::now() < deadline;)
      if (stamp_at(page) == stamp) return true;
    return false;
  }

  TestDirectory directory;
  std::unique_ptr<DaemonProcess> daemon;
  ClientOptions options;
  std::unique_ptr<Client> client;
  std::unique_ptr<Peer> peer;
};

class StoppedTest : public HostileTest {};
class StoppedOdpTest : public HostileTest {};
class KilledTest : public HostileTest {};
class LockedTest : public HostileTest {};

TEST_P(StoppedTest, Active) {
  start();
  client->process().kill(SIGSTOP);
  expect_fenced_by_truncate();
  EXPECT_EQ(stamp_at(1), 0x11u);
}

TEST_P(StoppedOdpTest, Frozen) {
  start();
  Tool tool(options);
  ASSERT_EQ(tool.ask({Order::Freeze, 0, 60000}).code, 0);
  ASSERT_EQ(peer->write(client->hello, 1, 0x44), IBV_WC_SUCCESS);
  EXPECT_EQ(stamp_at(1), 0x11u);  // frozen: the file stands still
  client->process().kill(SIGSTOP);
  // A device fault waits in the stopped client's userfaultfd: page 5 was never filled.
  Order hanging{Order::PostWrite, client->hello.va + 5 * 4096, 0x55, {}};
  hanging.address.qp = client->hello.rkey;
  ASSERT_EQ(peer->ask(hanging).code, 0);
  const auto begin = steady_clock::now();
  auto other = truncate_by_other(8192);
  EXPECT_EQ(other->wait(milliseconds(30000)), 0);
  EXPECT_LE(steady_clock::now() - begin, kRecall + milliseconds(1000));
  EXPECT_EQ(peer->ask({Order::Complete}).code, IBV_WC_REM_ACCESS_ERR);
  EXPECT_EQ(stamp_at(1), 0x44u);  // what was acknowledged came to the file by the daemon's hand
  client->process().kill(SIGCONT);
  EXPECT_EQ(client->ask({Order::AwaitFenced}).code, 0);
  client->ask({Order::Quit});
  EXPECT_EQ(client->process().wait(), 0);
}

TEST_P(StoppedOdpTest, InTheMiddleOfAThaw) {
  start();
  Tool tool(options);
  ASSERT_EQ(tool.ask({Order::Freeze, 0, 60000}).code, 0);
  for (std::uint64_t page = 0; page < kPages; page++) ASSERT_EQ(peer->write(client->hello, page, 0x1000 + page), IBV_WC_SUCCESS);
  tool.tell({Order::Thaw});
  // The first merged page in the file says that the thaw is under way.
  ASSERT_TRUE(comes_to_file(0, 0x1000));
  client->process().kill(SIGSTOP);
  const auto begin = steady_clock::now();
  auto other = truncate_by_other(8192);
  EXPECT_EQ(other->wait(milliseconds(30000)), 0);
  const auto waited = std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin);
  EXPECT_LE(waited, kRecall + milliseconds(1000));
  EXPECT_EQ(stamp_at(1), 0x1001u);
  EXPECT_EQ(peer->write(client->hello, 0, 0x22), IBV_WC_REM_ACCESS_ERR);
  client->process().kill(SIGCONT);
  EXPECT_EQ(client->ask({Order::AwaitFenced}).code, 0);
  client->ask({Order::Quit});
  EXPECT_EQ(client->process().wait(), 0);
}

TEST_P(KilledTest, Alone) {
  start({}, false, false);
  ASSERT_EQ(peer->write(client->hello, 1, 0x66), IBV_WC_SUCCESS);
  EXPECT_LE(kill_and_time(), milliseconds(1000));
  EXPECT_TRUE(comes_to_file(1, 0x66));
}

TEST_P(KilledTest, WithAForkedChildThatLivesOn) {
  start({}, false, false);
  const pid_t forked = client->ask({Order::Fork}).forked;
  ASSERT_GT(forked, 0);
  ASSERT_EQ(peer->write(client->hello, 1, 0x77), IBV_WC_SUCCESS);
  EXPECT_LE(kill_and_time(), milliseconds(1000));
  EXPECT_EQ(::kill(forked, 0), 0);
  // The queue pair lives on in the child; the memory region does not.
  EXPECT_EQ(peer->write(client->hello, 2, 0x88), IBV_WC_REM_ACCESS_ERR);
  EXPECT_TRUE(comes_to_file(1, 0x77));
  ::kill(forked, SIGKILL);
}

TEST_P(KilledTest, WhileATruncateIsHeld) {
  start({"--recall-deadline-ms", "30000"}, false, false);
  client->process().kill(SIGSTOP);
  auto other = truncate_by_other(8192);
  if (GetParam() != MRL_BACKING_BOUNCE) {
    ASSERT_TRUE(other->blocked_in(SYS_truncate));
  }
  client->process().kill(SIGKILL);
  EXPECT_EQ(other->wait(milliseconds(5000)), 0);
}

// mlockall(MCL_FUTURE), a forked child, threads that store into the mapping, and the peer, through freezes and thaws.
TEST_P(LockedTest, ForkedAndStoringThroughFreezes) {
  start({}, true, false);
  Tool tool(options);
  const pid_t forked = client->ask({Order::Fork}).forked;
  client->ask({Order::StoreThreads});
  for (std::uint64_t cycle = 1; cycle <= 20; cycle++) {
    ASSERT_EQ(tool.ask({Order::Freeze, 0, 60000}).code, 0);
    ASSERT_EQ(peer->write(client->hello, cycle, 0x2000 + cycle), IBV_WC_SUCCESS);
    ASSERT_EQ(tool.ask({Order::Thaw}).code, 0);
    ASSERT_EQ(peer->write(client->hello, 100 + cycle, 0x3000 + cycle), IBV_WC_SUCCESS);
  }
  const std::uint64_t in_memory = client->ask({Order::StopThreads}).value;
  EXPECT_EQ(client->ask({Order::Sync}).code, 0);
  std::uint64_t in_file = 0;
  for (std::size_t p = kPages * 3 / 4; p < kPages; p++) in_file += stamp_at(p);
  EXPECT_EQ(in_file, in_memory);
  for (std::uint64_t cycle = 1; cycle <= 20; cycle++) {
    EXPECT_EQ(stamp_at(cycle), 0x2000 + cycle);
    EXPECT_EQ(stamp_at(100 + cycle), 0x3000 + cycle);
  }
  EXPECT_EQ(stamp_at(500), 0x6161616161616161u);  // nobody wrote there: still the file's own
  ::kill(forked, SIGKILL);
  EXPECT_EQ(client->ask({Order::Quit}).code, 0);
}

const auto kName = [](const auto& info) { return std::string(mrl_backing_name(info.param)); };
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StoppedTest);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StoppedOdpTest);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KilledTest);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LockedTest);
INSTANTIATE_TEST_SUITE_P(, StoppedTest, ::testing::ValuesIn(backings({MRL_BACKING_ODP, MRL_BACKING_DIRECT})), kName);
INSTANTIATE_TEST_SUITE_P(, StoppedOdpTest, ::testing::ValuesIn(backings({MRL_BACKING_ODP})), kName);
INSTANTIATE_TEST_SUITE_P(, KilledTest, ::testing::ValuesIn(backings({MRL_BACKING_ODP, MRL_BACKING_DIRECT, MRL_BACKING_BOUNCE})), kName);
INSTANTIATE_TEST_SUITE_P(, LockedTest, ::testing::ValuesIn(backings({MRL_BACKING_ODP, MRL_BACKING_BOUNCE})), kName);

}  // namespace mrlease::test
