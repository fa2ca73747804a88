// SPDX-License-Identifier: Apache-2.0
// What the clients of one user may have of the daemon, up to the last piece and not one more.
#include <gmock/gmock.h>

#include <optional>

#include "tests/integration/daemon/fixture.h"
#include "tests/integration/daemon/stand_in_device.h"

namespace mrlease::test {

using std::chrono::milliseconds;
using testing::HasSubstr;

class QuotasTest : public DaemonTest {
 protected:
  v1::Status ask(std::uint64_t offset, std::uint64_t length, v1::Backing backing) {
    const Message answer = client->call(to_register(backing, offset, length), {fd.get()});
    if (answer.frame.has_granted()) last = answer.frame.granted().lease();
    return answer.frame.has_granted() ? v1::Status() : status(answer);
  }
  // The daemon hears of an end when it gets to it.
  bool in_time(const std::function<bool()>& holds) {
    for (int i = 0; i < 500; ++i, std::this_thread::sleep_for(milliseconds(20)))
      if (holds()) return true;
    return false;
  }
  std::uint64_t last = 0;
};

TEST_F(QuotasTest, Sessions) {
  start({"--sessions-max", "2"});
  std::optional<WireClient> second;
  const auto connects = [&](std::optional<WireClient>* into) {
    try {
      into->emplace(daemon->socket());
      return true;
    } catch (const std::runtime_error&) {
      return false;
    }
  };
  // Whoever looked whether the daemon serves (DaemonProcess) has hung up, and counts until the daemon has seen it.
  ASSERT_TRUE(in_time([&] { return connects(&second); }));
  EXPECT_THROW(WireClient third(daemon->socket()), std::runtime_error);
  Child of_another_user([&] {
    WireClient fine(daemon->socket());
    return 0;
  });
  EXPECT_EQ(of_another_user.wait(), 0);
  second->hang_up();
  std::optional<WireClient> instead;
  EXPECT_TRUE(in_time([&] { return connects(&instead); }));
}

TEST_F(QuotasTest, Leases) {
  start({"--leases-max", "2"});
  EXPECT_EQ(ask(0, 4096, v1::BACKING_ODP_TRANSPARENT).code(), 0);
  EXPECT_EQ(ask(4096, 4096, v1::BACKING_BOUNCE).code(), 0);
  const v1::Status refused = ask(8192, 4096, v1::BACKING_ODP_TRANSPARENT);
  EXPECT_EQ(refused.code(), EDQUOT);
  EXPECT_EQ(refused.message(), "the user's clients have 2 leases, and 1 more would exceed 2 (--leases-max)");
  EXPECT_EQ(status(release(last)).code(), 0);
  EXPECT_EQ(ask(8192, 4096, v1::BACKING_ODP_TRANSPARENT).code(), 0);
}

TEST_F(QuotasTest, BytesOfBouncePages) {
  start({"--bounce-bytes-max", "32768"});
  EXPECT_EQ(ask(0, 4096, v1::BACKING_BOUNCE).code(), 0);
  const v1::Status refused = ask(4096, 32768, v1::BACKING_BOUNCE);
  EXPECT_EQ(refused.code(), EDQUOT);
  EXPECT_THAT(refused.message(), HasSubstr("--bounce-bytes-max"));
  EXPECT_EQ(ask(4096, 32768, v1::BACKING_ODP_TRANSPARENT).code(), 0) << "it has no pages of the daemon's";
  EXPECT_EQ(status(release(last)).code(), 0);
  EXPECT_EQ(ask(4096, 28672, v1::BACKING_BOUNCE).code(), 0);
  EXPECT_EQ(ask(32768, 4096, v1::BACKING_BOUNCE).code(), EDQUOT);
  EXPECT_EQ(status(release(last)).code(), 0);
  EXPECT_EQ(ask(32768, 4096, v1::BACKING_BOUNCE).code(), 0);
}

// A second session has no second share, and another user has his own.
TEST_F(QuotasTest, AreOfAUserAndNotOfASession) {
  start({"--leases-max", "2", "--bounce-bytes-max", "8192"});
  WireClient second(daemon->socket());
  const auto lease_of = [&](WireClient& of, std::uint64_t offset, std::uint64_t length) {
    const Message answer = of.call(to_register(v1::BACKING_BOUNCE, offset, length), {fd.get()});
    return answer.frame.has_granted() ? v1::Status() : status(answer);
  };
  EXPECT_EQ(lease_of(*client, 0, 4096).code(), 0);
  EXPECT_THAT(lease_of(second, 4096, 8192).message(), HasSubstr("--bounce-bytes-max"));
  EXPECT_EQ(lease_of(second, 4096, 4096).code(), 0);
  EXPECT_THAT(lease_of(*client, 8192, 4096).message(), HasSubstr("--leases-max"));
  EXPECT_THAT(lease_of(second, 8192, 4096).message(), HasSubstr("--leases-max"));
  Child of_another_user([&] {
    WireClient other(daemon->socket());
    return static_cast<int>(lease_of(other, 8192, 8192).code());
  });
  EXPECT_EQ(of_another_user.wait(), 0);
}

// Two are a session's own: its socket and its process.
TEST_F(QuotasTest, Descriptors) {
  start({"--descriptors-max", "4"});
  EXPECT_EQ(ask(0, 4096, v1::BACKING_BOUNCE).code(), EDQUOT) << "it would take three";
  // The connection that has seen the daemon come up is still being ended, perhaps.
  EXPECT_TRUE(in_time([&] { return ask(0, 4096, v1::BACKING_ODP_TRANSPARENT).code() == 0; }));
  wire::Frame freeze;
  freeze.mutable_freeze_file()->mutable_range()->set_offset(8192);
  freeze.mutable_freeze_file()->mutable_range()->set_length(4096);
  freeze.mutable_freeze_file()->set_hold_ms(60000);
  const Message frozen = client->call(freeze, {fd.get()});
  ASSERT_TRUE(frozen.frame.has_frozen());
  EXPECT_EQ(ask(4096, 4096, v1::BACKING_ODP_TRANSPARENT).code(), EDQUOT);
  const v1::Status refused = status(client->call(freeze, {fd.get()}));
  EXPECT_EQ(refused.code(), EDQUOT);
  EXPECT_THAT(refused.message(), HasSubstr("4 descriptors, and 1 more would exceed 4 (--descriptors-max)"));
  EXPECT_THROW(WireClient other(daemon->socket()), std::runtime_error);
  wire::Frame thaw;
  thaw.mutable_thaw_file()->set_freeze(frozen.frame.frozen().freeze());
  EXPECT_EQ(status(client->call(thaw)).code(), 0);
  EXPECT_EQ(ask(4096, 4096, v1::BACKING_ODP_TRANSPARENT).code(), 0);
}

TEST_F(QuotasTest, DevicesOfASessionAndRegionsOfALease) {
  start({}, see_stand_in_device);
  // As nobody: a memory region that the kernel does not know of costs its client's life.
  Child other([&] {
    const wire::Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    WireClient mine(daemon->socket());
    const std::uint64_t lease = mine.lease(file.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize).frame.granted().lease();
    const std::uint32_t device = add_stand_in_device(mine);
    for (int i = 1; i < 64; i++) add_stand_in_device(mine);
    const wire::Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    wire::Frame one_more;
    one_more.mutable_add_device()->set_name("null0");
    const v1::Status full = status(mine.call(one_more, {null.get()}));
    if (full.code() != EMFILE || full.message() != "64 devices of one session are the limit") return 2;
    for (std::uint32_t handle = 0; handle < 256; handle++)
      if (add_mr(mine, lease, device, handle).code() != 0) return 3;
    const v1::Status refused = add_mr(mine, lease, device, 256);
    if (refused.code() != EMFILE || refused.message() != "256 MRs of one lease are the limit") return 4;
    if (remove_mr(mine, lease, device, 7).code() != 0) return 5;
    return add_mr(mine, lease, device, 256).code() == 0 ? 0 : 6;
  });
  EXPECT_EQ(other.wait(milliseconds(20000)), 0);
}

TEST_F(QuotasTest, FreezesOfASession) {
  start();
  wire::Frame freeze;
  freeze.mutable_freeze_file()->mutable_range()->set_length(4096);
  freeze.mutable_freeze_file()->set_hold_ms(60000);
  const auto ask_for = [&](int page) {
    freeze.mutable_freeze_file()->mutable_range()->set_offset(4096ull * page);
    return client->call(freeze, {fd.get()});
  };
  std::uint64_t first = 0;
  for (int i = 0; i < 1024; i++) {
    const Message frozen = ask_for(i);
    ASSERT_TRUE(frozen.frame.has_frozen()) << i << ": " << status(frozen).message();
    if (i == 0) first = frozen.frame.frozen().freeze();
  }
  const v1::Status refused = status(ask_for(1024));
  EXPECT_EQ(refused.code(), EDQUOT);
  EXPECT_EQ(refused.message(), "1024 freezes of one session are the limit");
  wire::Frame thaw;
  thaw.mutable_thaw_file()->set_freeze(first);
  EXPECT_EQ(status(client->call(thaw)).code(), 0);
  EXPECT_TRUE(ask_for(1024).frame.has_frozen());
}

// The daemon's memory is not where somebody keeps what he does not read.
TEST_F(QuotasTest, FramesThatAreNotRead) {
  start();
  Child deaf([&] {
    WireClient other(daemon->socket());
    while (send_when_there_is_room(other, nonsense())) continue;
    return 0;
  });
  EXPECT_EQ(deaf.wait(milliseconds(30000)), 0);
  EXPECT_TRUE(daemon->says("the client does not read its messages"));
  EXPECT_EQ(ask(0, 4096, v1::BACKING_ODP_TRANSPARENT).code(), 0) << "the others are served";
}

// Whose clients do not answer is waited for once, and not once for each of his leases.
TEST_F(QuotasTest, RecallsThatNobodyAnswers) {
  start({"--recalls-max", "1", "--recall-deadline-ms", "20000"});
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  auto first = truncate_by_other(4096);
  client->recall();  // and no answer
  path = directory->file("other", kSize);
  fd = wire::Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  const auto waits_for = [&](WireClient& second) {
    auto truncate = truncate_by_other(4096);
    const auto recall = second.next();
    if (recall && recall->frame.has_recall()) second.comply(recall->frame.recall());
    EXPECT_EQ(truncate->wait(), 0);
    return recall && recall->frame.has_recall();
  };
  WireClient second(daemon->socket());
  second.lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  EXPECT_FALSE(waits_for(second)) << "two of them waited";
  EXPECT_TRUE(first->running());
  // Who is gone has nothing to answer any more.
  client->hang_up();
  EXPECT_EQ(first->wait(), 0);
  ASSERT_EQ(::ftruncate(fd.get(), kSize), 0);
  WireClient third(daemon->socket());
  third.lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  EXPECT_TRUE(waits_for(third));
}

}  // namespace mrlease::test
