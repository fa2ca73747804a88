// SPDX-License-Identifier: Apache-2.0
// A client that names the memory region of somebody else, another user, and then has to be fenced: what becomes of that memory region. On a
// real device, by the real daemon.
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "parties.h"
#include "tests/support/daemon_process.h"
#include "tests/support/wire_client.h"

namespace mrlease::vm {
namespace {

namespace v1 = wire::v1;
using test::Child;
using test::WireClient;

constexpr std::uint32_t kDriver = 14;  // RDMA_DRIVER_RXE, rdma/ib_user_ioctl_verbs.h
constexpr uid_t kStranger = 1;         // the victim is 65534

class StrangerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    region = start_client(&victim, Memory::Pinned, -1, false, &descriptors);
    const Answer other = start_peer(&peer);
    ASSERT_EQ(region.value, 0);
    ASSERT_EQ(other.value, 0);
    victim.ask({.kind = Order::Connect, .other = other.self});
    peer.ask({.kind = Order::Connect, .other = region.self});
    before = memory_regions();
    ASSERT_GE(before, 1);
    ASSERT_EQ(write(0), IBV_WC_SUCCESS);
  }
  int write(std::uint32_t qp) { return peer.ask({Order::WritePage, {}, region.address, region.rkey, qp}).value; }
  // The victim's, as the kernel tells them.
  int memory_regions() const {
    FILE* const pipe = ::popen("rdma resource show mr", "r");
    const std::string owner = " pid " + std::to_string(victim.pid) + " ";
    int count = 0;
    for (char line[1024]; std::fgets(line, sizeof line, pipe) != nullptr;) count += std::string(line).find(owner) != std::string::npos;
    ::pclose(pipe);
    return count;
  }
  fence::Mr named(const fence::SharedFd& uverbs) const {
    return {uverbs, kDriver, region.handle, region.lkey, region.rkey, region.address, region.length};
  }
  // Has a lease with that memory region on it, by that descriptor (none: of his own), and answers nothing. 0: he was fenced.
  int rob(const std::string& socket, const std::string& file, int uverbs, int tell) const {
    const wire::Fd leased(::open(file.c_str(), O_RDWR | O_CLOEXEC));
    if (::setgroups(0, nullptr) != 0 || ::setgid(kStranger) != 0 || ::setuid(kStranger) != 0) return 1;
    const Verbs own;
    WireClient mine(socket);
    wire::Frame device, mr;
    device.mutable_add_device()->set_driver_id(kDriver);
    const auto added = mine.call(std::move(device), {uverbs >= 0 ? uverbs : own.context->cmd_fd});
    const auto lease = mine.lease(leased.get(), v1::BACKING_DIRECT, 0, 8192).frame.granted().lease();
    v1::AddMr& a = *mr.mutable_add_mr();
    a.set_lease(lease);
    a.set_device(added.frame.device_added().device());
    a.set_handle(region.handle);
    a.set_lkey(region.lkey);
    a.set_rkey(region.rkey);
    a.set_address(region.address);
    a.set_length(region.length);
    if (mine.call(std::move(mr)).frame.status().code() != 0) return 2;
    if (::write(tell, "x", 1) != 1) return 3;
    for (;;) {
      const auto m = mine.next(std::chrono::seconds(60));
      if (!m) return 4;
      if (m->frame.notice().kind() == v1::Notice::FENCED) return 0;
    }
  }
  // As rob(), in a process of its own, whose file somebody then truncates.
  void rob_and_be_fenced(int uverbs) {
    const test::TestDirectory directory;
    test::DaemonProcess daemon(directory, {"--recall-deadline-ms", "3000", "--fence-deadline-ms", "2500"});
    const std::string file = directory.file("data", 8192);
    int told[2];
    ASSERT_EQ(::pipe2(told, O_CLOEXEC), 0);
    Child robber([&] { return rob(daemon.socket(), file, uverbs, told[1]); }, false);
    ::close(told[1]);
    char x = 0;
    EXPECT_EQ(::read(told[0], &x, 1), 1) << robber.wait();
    ::close(told[0]);
    Child other([&] { return ::truncate(file.c_str(), 4096) == 0 ? 0 : errno; });
    EXPECT_EQ(other.wait(), 0);
    EXPECT_EQ(robber.wait(), 0) << daemon.log();
  }

  Party victim, peer;
  Answer region{};
  std::vector<fence::SharedFd> descriptors;
  int before = 0;
};

TEST_F(StrangerTest, ByAHandleAloneNothingOfAnothersIsReached) {
  rob_and_be_fenced(-1);
  EXPECT_EQ(memory_regions(), before);
  EXPECT_EQ(write(0), IBV_WC_SUCCESS);
}

// The daemon cannot tell whose a descriptor is: who has it may destroy with it (the next test), and so it does for him.
TEST_F(StrangerTest, ByAnothersDescriptorTheFenceReachesWhatItsHolderDoes) {
  rob_and_be_fenced(descriptors.at(0).get());
  EXPECT_EQ(memory_regions(), before - 1);
  EXPECT_EQ(write(0), IBV_WC_REM_ACCESS_ERR);
}

TEST_F(StrangerTest, WhoHasTheDescriptorNeedsNoDaemonForIt) {
  Child robber([&] { return ::setuid(kStranger) == 0 ? fence::destroy_mr(named(descriptors.at(0))) : EPERM; }, false);
  EXPECT_EQ(robber.wait(), 0);
  EXPECT_EQ(memory_regions(), before - 1);
  EXPECT_EQ(write(0), IBV_WC_REM_ACCESS_ERR);
}

}  // namespace
}  // namespace mrlease::vm
