// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/connection/connection.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <future>
#include <thread>

#include "client-lib/src/protocol/frames.h"
#include "tests/unit/client/scripted_daemon.h"

namespace mrlease::client {
namespace {
using wire::Frame;

class ConnectionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    daemon_ = std::make_unique<ScriptedDaemon>(wire::Fd(pair[1]));
    raw_ = pair[1];
    connection_ = std::make_unique<Connection>(wire::Fd(pair[0]),
                                               Sinks{[](wire::v1::Recall, wire::Fd) {}, [](const wire::v1::Notice&) {},
                                                     [this](const std::string& why) { closed_.set_value(why); }, {}});
  }
  void TearDown() override { connection_.reset(); }
  int raw_ = -1;
  std::unique_ptr<ScriptedDaemon> daemon_;
  std::unique_ptr<Connection> connection_;
  std::promise<std::string> closed_;
};

TEST_F(ConnectionTest, AnswersFindTheirCallersInAnyOrder) {
  std::vector<Frame> kept;
  daemon_->script([&](ScriptedDaemon& d, const Frame& f) {
    kept.push_back(f);
    if (kept.size() < 4) return true;
    for (auto it = kept.rbegin(); it != kept.rend(); ++it) {
      Frame reply;
      reply.mutable_extended()->set_file_size(it->extend().lease() * 10);
      d.reply(*it, std::move(reply));
    }
    return true;
  });
  std::vector<std::future<std::uint64_t>> callers;
  for (std::uint64_t i = 1; i <= 4; i++) {
    callers.push_back(std::async(std::launch::async, [this, i] {
      Reply reply;
      EXPECT_TRUE(connection_->call(protocol::extend(i), {}, Frame::kExtended, &reply).ok());
      return reply.frame.extended().file_size();
    }));
  }
  for (std::uint64_t i = 1; i <= 4; i++) EXPECT_EQ(callers[i - 1].get(), i * 10);
}

TEST_F(ConnectionTest, ARequestThatAnOldDaemonTookIsAskedAgainOfTheNewOne) {
  std::atomic<int> asked{0};
  std::uint64_t first = 0;
  daemon_->script([&](ScriptedDaemon& d, const Frame& f) {
    if (f.has_extend() && asked++ == 0) {  // taken, and the daemon is replaced
      first = f.id();
      Frame resume;
      resume.mutable_resume()->set_start(7);
      d.send(std::move(resume));
      return true;
    }
    if (f.has_resumed()) {
      EXPECT_EQ(f.resumed().start(), 7u);
      EXPECT_EQ(f.resumed().waiting_size(), 1);
      EXPECT_EQ(f.resumed().waiting(0), first);
      Frame taken;
      taken.set_id(first);
      d.reply_status(taken, ERESTART, "ask again");
      return true;
    }
    if (!f.has_extend()) return false;
    EXPECT_NE(f.id(), first);
    Frame reply;
    reply.mutable_extended()->set_file_size(5);
    d.reply(f, std::move(reply));
    return true;
  });
  Reply reply;
  EXPECT_TRUE(connection_->call(protocol::extend(1), {}, Frame::kExtended, &reply).ok());
  EXPECT_EQ(reply.frame.extended().file_size(), 5u);
  EXPECT_EQ(asked, 2);
}

TEST_F(ConnectionTest, WhoWaitsIsToldWhenTheDaemonGoes) {
  daemon_->script([](ScriptedDaemon& d, const Frame&) {
    d.hang_up();
    return true;
  });
  const Outcome o = connection_->call(protocol::release(1), {}, Frame::kStatus, nullptr);
  EXPECT_EQ(o.code, ENOTCONN);
  EXPECT_FALSE(connection_->alive());
  EXPECT_FALSE(closed_.get_future().get().empty());
  EXPECT_EQ(connection_->call(protocol::release(1), {}, Frame::kStatus, nullptr).code, ENOTCONN);
  EXPECT_EQ(connection_->send(protocol::recall_done(1, {})).code, ENOTCONN);
}

TEST_F(ConnectionTest, RubbishEndsTheConnection) {
  ASSERT_EQ(wire::send_packet(raw_, "\xff\xff\xff rubbish", {}), 0);
  EXPECT_NE(closed_.get_future().get().find("Frame"), std::string::npos);
  EXPECT_FALSE(connection_->alive());
}

TEST_F(ConnectionTest, ALeaseThatNobodyWaitsForIsGivenBack) {
  Frame late;
  late.mutable_granted()->set_lease(77);
  late.mutable_granted()->set_backing(wire::v1::BACKING_DIRECT);
  late.set_reply_to(12345);
  daemon_->send(late);
  EXPECT_TRUE(daemon_->wait_for(Frame::kRelease, 1));
}

TEST_F(ConnectionTest, CloseEndsWhoWaits) {
  daemon_->script([](ScriptedDaemon&, const Frame&) { return true; });
  auto waiting = std::async(
      std::launch::async, [this] { return connection_->call(protocol::release(1), {}, Frame::kStatus, nullptr).code; });
  ASSERT_TRUE(daemon_->wait_for(Frame::kRelease, 1));
  connection_->close();
  EXPECT_EQ(waiting.get(), ENOTCONN);
}

}  // namespace
}  // namespace mrlease::client
