// SPDX-License-Identifier: Apache-2.0
// The daemon goes away and another one comes: scripted daemons behind a real socket, a device that only counts.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <future>
#include <utility>

#include "client-lib/src/region/region.h"
#include "tests/unit/client/fake_verbs.h"
#include "tests/unit/client/scripted_daemon.h"

namespace mrlease::client {
namespace {
using wire::Frame;

constexpr std::uint64_t kOffset = kPage, kLength = 16 * kPage, kEnd = kOffset + kLength;
constexpr auto kPatience = std::chrono::seconds(30);

class ReconnectTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = ::testing::TempDir() + "/mrlease-reconnect-XXXXXX";
    ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
    file_ = wire::Fd(::open((directory_ + "/file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const std::string content(kEnd, 'a');
    ASSERT_EQ(::pwrite(file_.get(), content.data(), content.size(), 0), static_cast<ssize_t>(content.size()));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, socket_path().c_str());
    listener_ = wire::Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener_.get(), 4), 0);
  }
  void TearDown() override {
    if (region_) (void)region_->dereg();
    region_.reset();
    context_.reset();
    ::unlink(socket_path().c_str());
    ::unlink((directory_ + "/file").c_str());
    ::rmdir(directory_.c_str());
  }
  std::string socket_path() const { return directory_ + "/socket"; }
  // The next client's daemon.
  std::unique_ptr<ScriptedDaemon> accept(std::uint32_t version = 3, ScriptedDaemon::Script script = {}) {
    pollfd p{listener_.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&p, 1, 30000), 1) << "nobody has come back";
    auto daemon = std::make_unique<ScriptedDaemon>(wire::Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)), version);
    daemon->script(std::move(script));
    return daemon;
  }
  // It says "later" to every Register, until has_time_.
  std::unique_ptr<ScriptedDaemon> accept_one_that_has_no_time() {
    return accept(3, [this, told = false](ScriptedDaemon& d, const Frame& f) mutable {
      if (!f.has_register_() || has_time_) return false;
      d.reply_status(f, EAGAIN, "a session of this process is still being ended");
      if (!std::exchange(told, true)) began_.set_value();
      return true;
    });
  }
  char byte_in_file() const {
    char c = 0;
    return ::pread(file_.get(), &c, 1, kOffset) == 1 ? c : '?';
  }
  void begin(mrl_backing backing) {
    auto accepted = std::async(std::launch::async, [this] { return accept(); });
    Context::Options options;
    options.socket_path = socket_path();
    options.callback = &ReconnectTest::on_event;
    options.user = this;
    const Outcome opened = Context::open(options, &context_);
    daemon_ = accepted.get();
    ASSERT_TRUE(opened.ok()) << opened.text;
    RegionSpec spec;
    spec.pd = &device_.pd;
    spec.file = wire::Fd(::dup(file_.get()));
    spec.offset = kOffset;
    spec.length = kLength;
    spec.access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
    spec.write = true;
    spec.choice = {backing, false, "asked for"};
    const Outcome o = Region::create(*context_, std::move(spec), reinterpret_cast<mrl_region*>(16), &region_);
    ASSERT_TRUE(o.ok()) << o.text;
  }
  void lose_daemon() {
    daemon_->hang_up();
    wait_for(MRL_EVENT_DISCONNECTED);
  }
  static int on_event(const mrl_event* event, void* user) {
    auto* self = static_cast<ReconnectTest*>(user);
    std::lock_guard lock(self->mutex_);
    self->events_.push_back(*event);
    self->changed_.notify_all();
    return event->type == MRL_EVENT_RECALL && self->hang_ ? EINPROGRESS : 0;
  }
  mrl_event wait_for(mrl_event_type type) {
    std::unique_lock lock(mutex_);
    const auto is = [&](const mrl_event& e) { return e.type == type; };
    const auto find = [&] { return std::find_if(events_.begin(), events_.end(), is); };
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return find() != events_.end(); })) << "no event " << type;
    return find() == events_.end() ? mrl_event{} : *find();
  }
  bool came(mrl_event_type type) {
    std::lock_guard lock(mutex_);
    return std::any_of(events_.begin(), events_.end(), [&](const mrl_event& e) { return e.type == type; });
  }
  static wire::v1::Recall recall(wire::v1::Action action) {
    wire::v1::Recall r;
    r.set_lease(1);
    r.set_action(action);
    r.set_offset(kOffset);
    r.set_length(kLength);
    r.set_store(1);
    r.set_size(kEnd);
    return r;
  }
  static std::uint64_t inode(int fd) {
    struct stat s {};
    return ::fstat(fd, &s) == 0 ? s.st_ino : 0;
  }

  std::string directory_;
  std::promise<void> began_;
  std::atomic<bool> has_time_{false};
  FakeDevice device_;
  wire::Fd file_, listener_;
  std::unique_ptr<ScriptedDaemon> daemon_;
  std::unique_ptr<Context> context_;
  std::shared_ptr<Region> region_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<mrl_event> events_;
  std::atomic<bool> hang_{false};
};

TEST_F(ReconnectTest, BouncePagesAndKeysStay) {
  begin(MRL_BACKING_BOUNCE);
  const std::uint64_t memory = inode(daemon_->bounce());
  const std::uint32_t key = region_->rkey();
  lose_daemon();
  const auto next = accept();
  wait_for(MRL_EVENT_RECONNECTED);
  EXPECT_TRUE(next->registered().reclaim());
  EXPECT_EQ(next->registered().range().offset(), kOffset);
  EXPECT_EQ(next->registered().on_file_end(), kEnd);
  EXPECT_EQ(inode(next->bounce()), memory);
  EXPECT_EQ(next->mr().rkey(), key);
  EXPECT_EQ(next->mr().length(), kLength);
  EXPECT_EQ(next->count(Frame::kReclaimed), 1);
  EXPECT_EQ(region_->rkey(), key);
  next->notice(wire::v1::Notice::TRIMMED, 1, kOffset + kPage);
  EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED).size, kPage);
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(next->count(Frame::kRelease), 1);
  EXPECT_EQ(FakeDevice::live, 0);
  region_.reset();
}

TEST_F(ReconnectTest, AFileThatWasCutMeanwhileIsTold) {
  begin(MRL_BACKING_ODP_COOPERATIVE);
  lose_daemon();
  ASSERT_EQ(::ftruncate(file_.get(), kOffset + 3 * kPage), 0);
  const auto next = accept();
  EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED).size, 3 * kPage);
  wait_for(MRL_EVENT_RECONNECTED);
}

TEST_F(ReconnectTest, WhatARecallHasBegunIsEnded) {
  begin(MRL_BACKING_DIRECT);
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), 0);
  EXPECT_EQ(FakeDevice::live, 0);
  lose_daemon();
  const auto next = accept();
  EXPECT_EQ(wait_for(MRL_EVENT_RESTORED).generation, 2u);
  wait_for(MRL_EVENT_RECONNECTED);
  EXPECT_EQ(next->mr().rkey(), region_->rkey());
  EXPECT_EQ(region_->guard().enter(), 0);
  region_->guard().leave();
}

// A daemon that has only hung up protects the file for others: it has to know of a memory region before there is one.
TEST_F(ReconnectTest, NothingIsRegisteredAgainBetweenTwoDaemons) {
  begin(MRL_BACKING_DIRECT);
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), 0);
  daemon_->script([](ScriptedDaemon& d, const Frame& f) {
    if (f.has_add_mr()) d.hang_up();
    return f.has_add_mr();
  });
  daemon_->send_recall(recall(wire::v1::ACTION_REREGISTER));
  const auto looked = accept();  // whether anybody is there
  pollfd p{listener_.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&p, 1, 10000), 1) << "it has not looked, but come back already";
  std::promise<int> live;
  const auto next = accept(3, [&live](ScriptedDaemon&, const Frame& f) {
    if (f.has_register_()) live.set_value(FakeDevice::live);
    return false;
  });
  EXPECT_EQ(live.get_future().get(), 0);
  wait_for(MRL_EVENT_RESTORED);
  wait_for(MRL_EVENT_RECONNECTED);
  EXPECT_EQ(next->mr().rkey(), region_->rkey());
}

TEST_F(ReconnectTest, DirectPagesThatTheFileHasLostAreUnpinned) {
  begin(MRL_BACKING_DIRECT);
  lose_daemon();
  ASSERT_EQ(::ftruncate(file_.get(), kOffset + 3 * kPage), 0);
  const auto next = accept();
  EXPECT_EQ(wait_for(MRL_EVENT_RECALL).reason, MRL_REASON_TRUNCATE);
  wait_for(MRL_EVENT_RESTORED);
  wait_for(MRL_EVENT_RECONNECTED);
  EXPECT_EQ(next->mr().length(), 3 * kPage);
}

TEST_F(ReconnectTest, AFreezeOfADaemonThatIsGoneEnds) {
  begin(MRL_BACKING_ODP_COOPERATIVE);
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_FREEZE)), 0);
  static_cast<char*>(region_->address())[5 * kPage] = 'w';
  lose_daemon();
  const auto next = accept();
  wait_for(MRL_EVENT_RECONNECTED);
  EXPECT_TRUE(came(MRL_EVENT_RESTORED));
  char c = 0;
  ASSERT_EQ(::pread(file_.get(), &c, 1, kOffset + 5 * kPage), 1);
  EXPECT_EQ(c, 'w');
  EXPECT_EQ(next->count(Frame::kMerge), 0) << "it knows no such store";
}

TEST_F(ReconnectTest, AnAnswerToTheOneIsNotGivenToTheOther) {
  begin(MRL_BACKING_DIRECT);
  hang_ = true;
  daemon_->send_recall(recall(wire::v1::ACTION_QUIESCE));
  const std::uint64_t asked = wait_for(MRL_EVENT_RECALL).recall;
  lose_daemon();
  const auto next = accept();
  EXPECT_TRUE(next->wait_for(Frame::kHello, 1));
  EXPECT_TRUE(region_->complied(asked).ok());
  wait_for(MRL_EVENT_RECONNECTED);
  wait_for(MRL_EVENT_RESTORED);
  EXPECT_EQ(next->count(Frame::kRecallDone), 0);
}

TEST_F(ReconnectTest, ALeaseThatCannotBeHadAgainIsFenced) {
  begin(MRL_BACKING_BOUNCE);
  static_cast<char*>(region_->address())[0] = 'w';
  lose_daemon();
  const auto next = accept(3, [](ScriptedDaemon& d, const Frame& f) {
    if (f.has_register_()) d.reply_status(f, EDQUOT, "too many");
    return f.has_register_();
  });
  wait_for(MRL_EVENT_FENCED);
  wait_for(MRL_EVENT_RECONNECTED);
  EXPECT_EQ(FakeDevice::live, 0);
  EXPECT_EQ(byte_in_file(), 'w') << "what RDMA wrote is in the file";
}

// A lease that was granted and then could not be used: nobody would answer its recalls.
TEST_F(ReconnectTest, ALeaseThatIsLostAfterTheGrantGoesBack) {
  begin(MRL_BACKING_ODP_COOPERATIVE);
  lose_daemon();
  const auto next = accept(3, [](ScriptedDaemon& d, const Frame& f) {
    if (f.has_add_mr()) d.reply_status(f, EMFILE, "too many");
    return f.has_add_mr();
  });
  wait_for(MRL_EVENT_FENCED);
  wait_for(MRL_EVENT_RECONNECTED);
  EXPECT_EQ(next->count(Frame::kRelease), 1);
  EXPECT_EQ(FakeDevice::live, 0);
}

TEST_F(ReconnectTest, ADaemonThatGoesInTheMidstOfAReleaseLosesNothing) {
  begin(MRL_BACKING_BOUNCE);
  static_cast<char*>(region_->address())[0] = 'w';
  daemon_->script([](ScriptedDaemon& d, const Frame& f) {
    if (f.has_release()) d.hang_up();
    return f.has_release();
  });
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(byte_in_file(), 'w');
  region_.reset();
}

// Revoked, and the daemon goes before it could write what is owed.
TEST_F(ReconnectTest, WhatARevokedLeaseOwesIsWrittenWithoutTheDaemon) {
  begin(MRL_BACKING_BOUNCE);
  static_cast<char*>(region_->address())[0] = 'w';
  daemon_->script([](ScriptedDaemon& d, const Frame& f) {
    if (f.has_remove_mr()) d.hang_up();
    return f.has_remove_mr();
  });
  daemon_->send_recall(recall(wire::v1::ACTION_RELEASE));
  wait_for(MRL_EVENT_FENCED);
  EXPECT_EQ(byte_in_file(), 'w');
  const auto next = accept();
  wait_for(MRL_EVENT_RECONNECTED);
  EXPECT_EQ(next->count(Frame::kRegister), 0);
}

// The daemon hangs up and has destroyed the memory region, which was just being given up.
TEST_F(ReconnectTest, ARegionDoesNotComeBackWithoutItsMemoryRegion) {
  begin(MRL_BACKING_BOUNCE);
  const wire::Fd knows_no_handle(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC)));  // EINVAL to every other ioctl(2)
  ASSERT_TRUE(knows_no_handle);
  ASSERT_GE(::dup2(knows_no_handle.get(), device_.context.cmd_fd), 0);
  daemon_->script([](ScriptedDaemon& d, const Frame& f) {
    if (f.has_remove_mr()) d.hang_up();
    return f.has_remove_mr();
  });
  daemon_->send_recall(recall(wire::v1::ACTION_RELEASE));
  const auto next = accept();
  wait_for(MRL_EVENT_RECONNECTED);
  EXPECT_TRUE(came(MRL_EVENT_FENCED));
  EXPECT_EQ(next->count(Frame::kRegister), 0);
}

TEST_F(ReconnectTest, WhatSomebodyElseHasLeasedMeanwhileIsNotWrittenOver) {
  begin(MRL_BACKING_BOUNCE);
  static_cast<char*>(region_->address())[0] = 'w';
  lose_daemon();
  const auto next = accept(3, [](ScriptedDaemon& d, const Frame& f) {
    if (f.has_register_()) d.reply_status(f, EBUSY, "overlaps");
    return f.has_register_();
  });
  wait_for(MRL_EVENT_FENCED);
  EXPECT_EQ(FakeDevice::live, 0);
  EXPECT_EQ(byte_in_file(), 'a');
}

// It would answer that all is on the disk: it knows of nobody who has written.
TEST_F(ReconnectTest, ADaemonThatDoesNotHaveTheLeaseYetIsNotAskedToSync) {
  begin(MRL_BACKING_BOUNCE);
  static_cast<char*>(region_->address())[0] = 'w';
  lose_daemon();
  const auto next = accept_one_that_has_no_time();
  began_.get_future().wait();
  EXPECT_TRUE(region_->sync(kOffset, 0).ok());
  EXPECT_EQ(byte_in_file(), 'w');
  EXPECT_EQ(next->count(Frame::kSyncFile), 0);
  has_time_ = true;
  wait_for(MRL_EVENT_RECONNECTED);
}

// There the lease's number is somebody else's.
TEST_F(ReconnectTest, ADaemonThatDoesNotHaveTheLeaseYetIsNotAskedToReleaseIt) {
  begin(MRL_BACKING_BOUNCE);
  static_cast<char*>(region_->address())[0] = 'w';
  lose_daemon();
  const auto next = accept_one_that_has_no_time();
  began_.get_future().wait();
  EXPECT_TRUE(region_->dereg().ok());
  region_.reset();
  EXPECT_EQ(FakeDevice::live, 0);
  EXPECT_EQ(byte_in_file(), 'w');
  EXPECT_EQ(next->count(Frame::kRemoveMr) + next->count(Frame::kRelease), 0);
  has_time_ = true;
  wait_for(MRL_EVENT_RECONNECTED);
}

TEST_F(ReconnectTest, AnOlderDaemonCannotHaveBouncePages) {
  begin(MRL_BACKING_BOUNCE);
  lose_daemon();
  const auto next = accept(2);
  wait_for(MRL_EVENT_FENCED);
  wait_for(MRL_EVENT_RECONNECTED);
  EXPECT_EQ(next->count(Frame::kRegister), 0);
  EXPECT_EQ(next->count(Frame::kReclaimed), 0);
}

TEST_F(ReconnectTest, OneThatIsStillEndingTheOldSessionIsAskedAgain) {
  begin(MRL_BACKING_ODP_COOPERATIVE);
  lose_daemon();
  auto asked = std::make_shared<std::atomic<int>>(0);
  const auto next = accept(3, [asked](ScriptedDaemon& d, const Frame& f) {
    if (!f.has_register_() || ++*asked > 2) return false;
    d.reply_status(f, EAGAIN, "a session of this process is still being ended");
    return true;
  });
  wait_for(MRL_EVENT_RECONNECTED);
  EXPECT_EQ(*asked, 3);
  EXPECT_EQ(next->count(Frame::kHello), 1) << "on the same connection";
  EXPECT_FALSE(came(MRL_EVENT_FENCED));
}

TEST_F(ReconnectTest, OneThatDiesWhileItIsToldIsNotCounted) {
  begin(MRL_BACKING_ODP_COOPERATIVE);
  lose_daemon();
  const auto dying = accept(3, [](ScriptedDaemon& d, const Frame& f) {
    if (f.has_add_mr()) d.hang_up();
    return f.has_add_mr();
  });
  EXPECT_TRUE(dying->wait_for(Frame::kAddMr, 1));
  const auto next = accept();
  wait_for(MRL_EVENT_RECONNECTED);
  EXPECT_EQ(next->mr().rkey(), region_->rkey());
  EXPECT_EQ(next->count(Frame::kRegister), 1) << "it was granted to the one that died, and is asked for once all the same";
  EXPECT_FALSE(came(MRL_EVENT_FENCED));
}

TEST_F(ReconnectTest, ClosingEndsTheSearch) {
  begin(MRL_BACKING_BOUNCE);
  listener_ = wire::Fd();
  lose_daemon();
  EXPECT_TRUE(region_->dereg().ok());
  region_.reset();
  context_.reset();
  EXPECT_EQ(FakeDevice::live, 0);
}

}  // namespace
}  // namespace mrlease::client
