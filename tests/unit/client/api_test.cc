// SPDX-License-Identifier: Apache-2.0
// The C functions and the C++ wrapper over a real socket.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <utility>

#include "mrlease/mrlease.hpp"
#include "tests/unit/client/fake_verbs.h"
#include "tests/unit/client/scripted_daemon.h"

namespace mrlease::client {
namespace {
using wire::Frame;

class ApiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = ::testing::TempDir() + "/mrlease-api-" + std::to_string(::getpid());
    listener_ = wire::Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    ::unlink(path_.c_str());
    ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener_.get(), 1), 0);
    acceptor_ = std::thread([this] {
      const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      daemon_ = std::make_unique<ScriptedDaemon>(wire::Fd(fd), version_);
    });
    file_ = wire::Fd(::memfd_create("file", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file_.get(), 65536), 0);
  }
  void TearDown() override {
    ::shutdown(listener_.get(), SHUT_RDWR);
    if (acceptor_.joinable()) acceptor_.join();
    ::unlink(path_.c_str());
  }
  // Once somebody has connected.
  ScriptedDaemon& daemon() {
    if (acceptor_.joinable()) acceptor_.join();
    return *daemon_;
  }
  mrl_open_options options() const {
    mrl_open_options o{};
    o.struct_size = sizeof o;
    o.socket_path = path_.c_str();
    return o;
  }

  std::string path_;
  wire::Fd listener_, file_;
  std::thread acceptor_;
  std::uint32_t version_ = 1;
  std::unique_ptr<ScriptedDaemon> daemon_;
  FakeDevice device_;
};

TEST_F(ApiTest, OpenRegisterCloseInC) {
  mrl_ctx* ctx = nullptr;
  const mrl_open_options o = options();
  ASSERT_EQ(mrl_open(&o, &ctx), 0) << mrl_last_error();
  mrl_reg_options reg{};
  reg.struct_size = sizeof reg;
  reg.backing = MRL_BACKING_BOUNCE;
  mrl_region* region = nullptr;
  ASSERT_EQ(mrl_reg_file(ctx, &device_.pd, file_.get(), 0, 8192, IBV_ACCESS_REMOTE_WRITE, &reg, &region), 0)
      << mrl_last_error();
  EXPECT_EQ(mrl_length(region), 8192u);
  EXPECT_EQ(mrl_mr(region)->addr, mrl_addr(region));
  EXPECT_EQ(mrl_rkey(region), mrl_mr(region)->rkey);
  EXPECT_EQ(mrl_enter(region), 0);
  mrl_leave(region);
  mrl_info info{};
  EXPECT_EQ(mrl_get_info(region, &info), EINVAL) << "no struct_size";
  info.struct_size = sizeof info;
  ASSERT_EQ(mrl_get_info(region, &info), 0);
  EXPECT_EQ(info.backing, MRL_BACKING_BOUNCE);
  EXPECT_STREQ(info.guard, "none");
  // What is still registered is deregistered.
  EXPECT_EQ(mrl_close(ctx), 0) << mrl_last_error();
  EXPECT_EQ(FakeDevice::live, 0);
  EXPECT_EQ(daemon().count(Frame::kRelease), 1);
}

// A memory window keeps its memory region: a device reaches the pages, so the lease must not end, whoever asks for that.
TEST_F(ApiTest, WhatCannotBeDeregisteredStaysLeased) {
  const mrl_open_options open_options = options();
  mrl_ctx* ctx = nullptr;
  ASSERT_EQ(mrl_open(&open_options, &ctx), 0) << mrl_last_error();
  daemon().granted.set_file_size(65536);
  mrl_reg_options bounce{};
  bounce.struct_size = sizeof bounce;
  bounce.backing = MRL_BACKING_BOUNCE;
  constexpr int kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND;
  mrl_region *region = nullptr, *other = nullptr, *again = nullptr;
  ASSERT_EQ(mrl_reg_file(ctx, &device_.pd, file_.get(), 0, 8192, kAccess, &bounce, &region), 0) << mrl_last_error();
  ASSERT_EQ(mrl_reg_file(ctx, &device_.pd, file_.get(), 8192, 8192, kAccess, &bounce, &other), 0) << mrl_last_error();
  const ibv_mr* const mr = mrl_mr(region);
  FakeDevice::windows = 1;
  for (int i = 1; i <= 2; i++) {
    EXPECT_EQ(mrl_dereg(region), EBUSY);
    EXPECT_NE(std::string(mrl_last_error()).find("memory window"), std::string::npos) << mrl_last_error();
    EXPECT_EQ(daemon().count(Frame::kAddMr), 2 + i) << "the daemon does not know the memory region any more";
  }
  EXPECT_EQ(daemon().mr().handle(), mr->handle);
  EXPECT_EQ(mrl_mr(region), mr);
  ASSERT_EQ(mrl_reg_mr(ctx, &device_.pd, mrl_addr(region), 4096, kAccess, nullptr, &again), 0) << mrl_last_error();
  EXPECT_EQ(again, region);
  EXPECT_EQ(mrl_dereg(again), 0);
  EXPECT_EQ(mrl_close(ctx), EBUSY);
  EXPECT_EQ(daemon().count(Frame::kRelease), 0);
  EXPECT_EQ(FakeDevice::live, 2);
  FakeDevice::windows = 0;
  EXPECT_EQ(mrl_dereg(region), 0) << mrl_last_error();
  EXPECT_EQ(daemon().count(Frame::kRelease), 1);
  EXPECT_EQ(mrl_close(ctx), 0) << mrl_last_error();
  EXPECT_EQ(daemon().count(Frame::kRelease), 2);
  EXPECT_EQ(FakeDevice::live, 0);
}

// What is registered already is returned once more, until everybody has given it back.
TEST_F(ApiTest, ARegistrationOfTheSameMemoryIsCounted) {
  const mrl_open_options open_options = options();
  mrl_ctx* ctx = nullptr;
  ASSERT_EQ(mrl_open(&open_options, &ctx), 0) << mrl_last_error();
  daemon().granted.set_file_size(65536);
  mrl_reg_options bounce{};
  bounce.struct_size = sizeof bounce;
  bounce.backing = MRL_BACKING_BOUNCE;
  constexpr int kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ;
  mrl_region *first = nullptr, *again = nullptr, *part = nullptr, *other = nullptr;
  ASSERT_EQ(mrl_reg_file(ctx, &device_.pd, file_.get(), 0, 65536, kAccess, &bounce, &first), 0) << mrl_last_error();
  char* const at = static_cast<char*>(mrl_addr(first));
  ASSERT_EQ(mrl_reg_mr(ctx, &device_.pd, at, 65536, kAccess, nullptr, &again), 0) << mrl_last_error();
  ASSERT_EQ(mrl_reg_mr(ctx, &device_.pd, at + 5000, 100, IBV_ACCESS_LOCAL_WRITE, &bounce, &part), 0) << mrl_last_error();
  EXPECT_EQ(again, first);
  EXPECT_EQ(part, first);
  EXPECT_EQ(daemon().count(Frame::kRegister), 1);

  EXPECT_EQ(mrl_reg_mr(ctx, &device_.pd, at, 4096, kAccess | IBV_ACCESS_REMOTE_WRITE, nullptr, &other), EBUSY);
  EXPECT_NE(std::string(mrl_last_error()).find("less access"), std::string::npos) << mrl_last_error();
  bounce.backing = MRL_BACKING_DIRECT;
  EXPECT_EQ(mrl_reg_mr(ctx, &device_.pd, at, 4096, kAccess, &bounce, &other), EBUSY);
  EXPECT_NE(std::string(mrl_last_error()).find("backing bounce"), std::string::npos) << mrl_last_error();
  EXPECT_EQ(other, nullptr);

  daemon().notice(mrlease::wire::v1::Notice::TRIMMED, 1, 8192);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  mrl_info info{};
  info.struct_size = sizeof info;
  do {
    ASSERT_EQ(mrl_get_info(first, &info), 0);
  } while (info.size != 8192 && std::chrono::steady_clock::now() < until);
  EXPECT_EQ(mrl_reg_mr(ctx, &device_.pd, at, 65536, kAccess, nullptr, &other), ERANGE) << mrl_last_error();
  ASSERT_EQ(mrl_reg_mr(ctx, &device_.pd, at, 8192, kAccess, nullptr, &other), 0) << mrl_last_error();

  for (int i = 0; i < 3; i++) EXPECT_EQ(mrl_dereg(first), 0);
  EXPECT_EQ(daemon().count(Frame::kRelease), 0);
  EXPECT_EQ(mrl_dereg(first), 0) << mrl_last_error();
  EXPECT_EQ(daemon().count(Frame::kRelease), 1);
  EXPECT_NE(mrl_reg_mr(ctx, &device_.pd, at, 4096, kAccess, nullptr, &other), 0);  // nothing is mapped there any more
  EXPECT_EQ(mrl_close(ctx), 0);
}

TEST_F(ApiTest, TheErrorIsOfThisThread) {
  mrl_ctx* ctx = nullptr;
  EXPECT_EQ(mrl_open(nullptr, nullptr), EINVAL);
  const std::string mine = mrl_last_error();
  EXPECT_EQ(mine, "ctx is NULL");
  std::thread([] { EXPECT_STREQ(mrl_last_error(), ""); }).join();
  mrl_open_options o = options();
  o.socket_path = "/nonexistent/mrleased.sock";
  EXPECT_EQ(mrl_open(&o, &ctx), ENOENT);
  EXPECT_NE(std::string(mrl_last_error()).find("/nonexistent/mrleased.sock"), std::string::npos);
  o.flags = 8;
  EXPECT_EQ(mrl_open(&o, &ctx), EINVAL);
  o = {};
  EXPECT_EQ(mrl_open(&o, &ctx), EINVAL) << "no struct_size";
}

TEST_F(ApiTest, AnotherVersionIsRefused) {
  version_ = 9;
  mrl_ctx* ctx = nullptr;
  const mrl_open_options o = options();
  EXPECT_EQ(mrl_open(&o, &ctx), EPROTO);
  EXPECT_NE(std::string(mrl_last_error()).find("version 9"), std::string::npos) << mrl_last_error();
}

TEST_F(ApiTest, BadArgumentsNeverReachTheDaemon) {
  mrl_ctx* ctx = nullptr;
  const mrl_open_options o = options();
  ASSERT_EQ(mrl_open(&o, &ctx), 0);
  mrl_region* region = nullptr;
  EXPECT_EQ(mrl_reg_file(ctx, &device_.pd, file_.get(), 1, 4096, 0, nullptr, &region), EINVAL);
  EXPECT_EQ(mrl_reg_file(ctx, &device_.pd, file_.get(), 0, 65537, 0, nullptr, &region), ERANGE);
  EXPECT_EQ(mrl_reg_file(ctx, &device_.pd, -1, 0, 4096, 0, nullptr, &region), EBADF);
  EXPECT_EQ(mrl_reg_file(ctx, nullptr, file_.get(), 0, 4096, 0, nullptr, &region), EINVAL);
  EXPECT_EQ(mrl_reg_file(ctx, &device_.pd, file_.get(), 0, 4096, 1 << 30, nullptr, &region), EINVAL);
  {
    const int open = std::exchange(device_.context.cmd_fd, 1 << 20);  // closed behind the library's back
    EXPECT_EQ(mrl_reg_file(ctx, &device_.pd, file_.get(), 0, 4096, 0, nullptr, &region), ENODEV);
    EXPECT_NE(std::string(mrl_last_error()).find("closed or gone"), std::string::npos) << mrl_last_error();
    device_.context.cmd_fd = open;
  }
  mrl_freeze* freeze = nullptr;
  EXPECT_EQ(mrl_file_freeze(ctx, file_.get(), 0, 0, 0, &freeze, nullptr), EINVAL);
  EXPECT_EQ(mrl_file_sync(ctx, -1, 0, 0), EBADF);
  EXPECT_EQ(mrl_file_sync_stable(ctx, -1, 0, 0, 1000), EBADF);
  EXPECT_EQ(mrl_file_sync_stable(ctx, file_.get(), 0, 0, 0), EINVAL);
  EXPECT_EQ(region, nullptr);
  EXPECT_EQ(mrl_close(ctx), 0);
  EXPECT_EQ(daemon().count(Frame::kRegister) + daemon().count(Frame::kFreezeFile) + daemon().count(Frame::kSyncFile),
            0);
}

TEST_F(ApiTest, AStableSyncIsAFreezeAnFsyncAndAThaw) {
  const mrl_open_options o = options();
  mrl_ctx* ctx = nullptr;
  ASSERT_EQ(mrl_open(&o, &ctx), 0);
  std::atomic<int> thawed{0}, asked{0};
  std::string order;  // the daemon's thread's, while a call waits for it
  daemon().script([&](ScriptedDaemon& d, const Frame& f) {
    Frame frozen;
    frozen.mutable_frozen()->set_freeze(7);
    if (f.has_freeze_file()) {
      EXPECT_EQ(f.freeze_file().hold_ms(), 1500u);
      order += 'f';
      d.reply(f, std::move(frozen));
    } else if (f.has_thaw_file()) {
      EXPECT_EQ(f.thaw_file().freeze(), 7u);
      order += 't';
      d.reply_status(f, thawed, "the freeze is over: its hold has passed");
    } else if (f.has_sync_file()) {
      EXPECT_TRUE(f.sync_file().failed());
      order += 's';
      d.reply_status(f, asked);
    } else {
      return false;
    }
    return true;
  });
  EXPECT_EQ(mrl_file_sync_stable(ctx, file_.get(), 0, 4096, 1500), 0);
  EXPECT_EQ(order, "ft");
  thawed = ETIMEDOUT;
  EXPECT_EQ(mrl_file_sync_stable(ctx, file_.get(), 0, 0, 1500), EAGAIN);
  EXPECT_NE(std::string(mrl_last_error()).find("its hold has passed"), std::string::npos) << mrl_last_error();
  EXPECT_EQ(order, "ftft");
  // What cannot be synced is thawed, and the daemon is asked to have it written again: the kernel tells nobody a second time.
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const wire::Fd reads(pipe[0]), writes(pipe[1]);
  EXPECT_EQ(mrl_file_sync_stable(ctx, writes.get(), 0, 0, 1500), EINVAL);
  EXPECT_EQ(order, "ftftfts");
  EXPECT_EQ(mrl_close(ctx), 0);
}

TEST_F(ApiTest, TheWrapperOwnsAndThrows) {
  mrlease::Context context([](const mrlease::Event&) { return 0; }, path_);
  mrlease::RegOptions bounce;
  bounce.backing = MRL_BACKING_BOUNCE;
  mrlease::Region region = context.reg_file(&device_.pd, file_.get(), 0, 4096, IBV_ACCESS_REMOTE_WRITE, bounce);
  mrlease::Region moved = std::move(region);
  EXPECT_FALSE(region);
  EXPECT_EQ(moved.length(), 4096u);
  EXPECT_TRUE(mrlease::Posting::try_enter(moved).has_value());
  try {
    (void)context.reg_file(&device_.pd, file_.get(), 100, 4096, 0);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code().value(), EINVAL);
    EXPECT_NE(std::string(e.what()).find("offset 100"), std::string::npos) << e.what();
  }
  moved.sync(0);
  moved.dereg();
  EXPECT_EQ(FakeDevice::live, 0);
  context.sync_file(file_.get());
  context.close();
}

TEST_F(ApiTest, DeregisteringInACallbackIsRefused) {
  std::atomic<int> code{0};
  mrlease::Region region;
  mrlease::Context context(
      [&](const mrlease::Event& e) {
        if (e.type == MRL_EVENT_TRIMMED) code = mrl_dereg(e.region);
        return 0;
      },
      path_, true);
  mrlease::RegOptions bounce;
  bounce.backing = MRL_BACKING_BOUNCE;
  region = context.reg_file(&device_.pd, file_.get(), 0, 8192, IBV_ACCESS_REMOTE_WRITE, bounce);
  daemon().notice(wire::v1::Notice::TRIMMED, 1, 4096);
  pollfd ready{context.fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&ready, 1, 20000), 1);
  context.dispatch();
  EXPECT_EQ(code, EDEADLK);
  EXPECT_EQ(region.info().size, 4096u);
  region.dereg();
}

}  // namespace
}  // namespace mrlease::client
