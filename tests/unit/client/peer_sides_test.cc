// SPDX-License-Identifier: Apache-2.0
// Owner and peer with their threads, over queue pairs in memory; and ends that play a peer that misbehaves.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>
#include <thread>

#include "client-lib/src/peers/owner_side.h"
#include "client-lib/src/peers/remote_side.h"
#include "mrlease/peers.h"
#include "tests/unit/client/fake_link.h"
#include "tests/unit/client/peer_places.h"

namespace mrlease::client::peers {
namespace {
using std::chrono::milliseconds;
constexpr milliseconds kLong{20000};

Place place(std::uint32_t generation) { return {4096, 65536, 65536, 100 + generation, generation}; }

class PeerSides : public ::testing::Test {
 protected:
  PeerSides() { FakeEnd::connect(near_, far_); }
  std::uint64_t add() {
    std::uint64_t peer = 0;
    const Outcome o = owner_.add(&near_.qp, {&data_.qp}, &peer);
    EXPECT_TRUE(o.ok()) << o.text;
    return peer;
  }
  std::unique_ptr<RemoteSide> remote() {
    std::unique_ptr<RemoteSide> made;
    const Outcome o = RemoteSide::create(&far_.qp, &made);
    EXPECT_TRUE(o.ok()) << o.text;
    return made;
  }
  // Waits until the owner has seen that.
  Outcome status_after_change(std::uint64_t peer) {
    const auto until = std::chrono::steady_clock::now() + kLong;
    while (owner_.status(peer).ok() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    return owner_.status(peer);
  }

  FakeDevice device_;
  FakeEnd near_{device_}, far_{device_}, data_{device_};
  OwnerSide owner_;
  Place got_;
};

TEST_F(PeerSides, ARecallWaitsForWhoIsInside) {
  const auto peer = add();
  auto side = remote();
  ASSERT_TRUE(owner_.offer(kFile, place(1), 0).ok());
  ASSERT_TRUE(side->enter(kFile, kLong, &got_).ok());
  EXPECT_EQ(got_.rkey, 101u);
  std::promise<void> done;
  auto answered = done.get_future();
  owner_.hold(kFile, kRecalled, kLong, [&] { done.set_value(); });
  while (side->enter(kFile, milliseconds(0), &got_).ok()) ASSERT_TRUE(side->leave(kFile).ok());  // until it is known there
  EXPECT_EQ(answered.wait_for(milliseconds(0)), std::future_status::timeout);
  EXPECT_EQ(side->enter(kFile, milliseconds(10), &got_).code, ETIMEDOUT);
  ASSERT_TRUE(side->leave(kFile).ok());
  ASSERT_EQ(answered.wait_for(kLong), std::future_status::ready);
  owner_.resume(kFile, kRecalled, place(2));
  ASSERT_TRUE(side->enter(kFile, kLong, &got_).ok());
  EXPECT_EQ(got_.rkey, 102u);
  ASSERT_TRUE(side->leave(kFile).ok());
  owner_.forget(kFile);
  Outcome o;
  while ((o = side->enter(kFile, milliseconds(0), &got_)).ok()) ASSERT_TRUE(side->leave(kFile).ok());
  EXPECT_EQ(o.code, EKEYREVOKED);
  side.reset();
  EXPECT_EQ(status_after_change(peer).code, ESHUTDOWN);
  EXPECT_FALSE(data_.in_error());
}

// While it is held nobody is inside, and who is inside has the keys of now: `generation`, a plain int, is written between holds
// and read inside (TSan would show it).
TEST_F(PeerSides, NobodyIsInsideWhileItIsHeld) {
  add();
  auto side = remote();
  std::uint32_t generation = 1;
  ASSERT_TRUE(owner_.offer(kFile, place(generation), 0).ok());
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> entered{0}, wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; i++) {
    threads.emplace_back([&] {
      while (!stop) {
        Place now;
        if (!side->enter(kFile, kLong, &now).ok()) continue;
        entered++;
        if (now.generation != generation) wrong++;
        (void)side->leave(kFile);
      }
    });
  }
  for (int round = 0; round < 300; round++) {
    owner_.hold_and_wait(kFile, kRecalled, kLong);
    generation++;
    const std::uint64_t before = entered;
    owner_.resume(kFile, kRecalled, place(generation));
    while (entered == before) std::this_thread::yield();
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(owner_.counts().holds, 300u);
  EXPECT_EQ(owner_.counts().cut, 0u);
}

TEST_F(PeerSides, AHungPeerCostsTheDeadlineAndItsQueuePairs) {
  const auto peer = add();  // nobody listens at the other end
  ASSERT_TRUE(owner_.offer(kFile, place(1), 0).ok());
  owner_.hold_and_wait(kFile, kRecalled, milliseconds(30));
  EXPECT_EQ(owner_.status(peer).code, ETIMEDOUT);
  EXPECT_TRUE(data_.in_error());
  EXPECT_TRUE(near_.in_error());
  EXPECT_EQ(owner_.counts().cut, 1u);
  EXPECT_TRUE(owner_.remove(peer).ok());
}

TEST_F(PeerSides, GarbageEndsThePeer) {
  const auto peer = add();
  far_.send_raw(std::vector<unsigned char>(64, 0x55));
  EXPECT_EQ(status_after_change(peer).code, EPROTO);
  EXPECT_TRUE(data_.in_error());
}

TEST_F(PeerSides, AMessageThatIsTooLongEndsThePeer) {
  const auto peer = add();
  far_.send_raw(std::vector<unsigned char>(4096, 0x55));
  EXPECT_EQ(status_after_change(peer).code, ENOTCONN);
  EXPECT_TRUE(data_.in_error());
}

TEST_F(PeerSides, TooManyAnswersEndThePeer) {
  const auto peer = add();
  ASSERT_TRUE(owner_.offer(kFile, place(1), 0).ok());
  for (int i = 0; i < 1000; i++) {
    const Bytes held = encode({Kind::kHeld, kFile, 1, {}});
    far_.send_raw({held.begin(), held.end()});
  }
  EXPECT_EQ(status_after_change(peer).code, EPROTO);
}

TEST_F(PeerSides, ALostConnectionIsTold) {
  const auto peer = add();
  auto side = remote();
  ASSERT_TRUE(owner_.offer(kFile, place(1), 0).ok());
  ASSERT_TRUE(side->enter(kFile, kLong, &got_).ok());
  ASSERT_TRUE(side->leave(kFile).ok());
  verbs::end_queue_pair(&far_.qp);
  owner_.hold_and_wait(kFile, kRecalled, kLong);  // its send fails
  EXPECT_EQ(owner_.status(peer).code, ENOTCONN);
  Outcome o;
  while ((o = side->enter(kFile, kLong, &got_)).ok()) ASSERT_TRUE(side->leave(kFile).ok());
  EXPECT_EQ(o.code, ENOTCONN);
}

TEST_F(PeerSides, AnOwnerThatSendsGarbageIsNotListenedTo) {
  auto side = remote();
  near_.send_raw(std::vector<unsigned char>(64, 0x55));
  EXPECT_EQ(side->enter(kFile, kLong, &got_).code, EPROTO);
}

TEST_F(PeerSides, MoreRegionsThanTheQueueTakesAtOnce) {
  add();
  for (std::uint64_t region = 0; region < 100; region++) ASSERT_TRUE(owner_.offer(region, place(1), 0).ok());
  auto side = remote();
  for (std::uint64_t region = 0; region < 100; region++) {
    ASSERT_TRUE(side->enter(region, kLong, &got_).ok());
    ASSERT_TRUE(side->leave(region).ok());
  }
  EXPECT_EQ(far_.min_rnr_timer, 12) << "else who sends too much at once waits for 655 ms";
}

TEST_F(PeerSides, WhoIsRemovedDuringARecallIsNotWaitedFor) {
  const auto peer = add();
  ASSERT_TRUE(owner_.offer(kFile, place(1), 0).ok());
  std::promise<void> done;
  owner_.hold(kFile, kRecalled, kLong, [&] { done.set_value(); });
  EXPECT_TRUE(owner_.remove(peer).ok());
  EXPECT_EQ(done.get_future().wait_for(kLong), std::future_status::ready);
}

TEST_F(PeerSides, AQueuePairThatWillNotDoIsRefusedWithWhy) {
  const auto refused = [&](FakeEnd& end) {
    mrl_peer* peer = nullptr;
    EXPECT_EQ(mrl_peer_create(&end.qp, &peer), EINVAL);
    EXPECT_EQ(peer, nullptr);
    return std::string(mrl_last_error());
  };
  FakeEnd datagrams(device_), deaf(device_), small(device_), over(device_);
  datagrams.qp.qp_type = IBV_QPT_UD;
  deaf.cq.channel = nullptr;
  small.cap.max_recv_wr = 2;
  verbs::end_queue_pair(&over.qp);
  EXPECT_NE(refused(datagrams).find("not of a reliable connection"), std::string::npos);
  EXPECT_NE(refused(deaf).find("without a completion channel"), std::string::npos);
  EXPECT_NE(refused(small).find("8 sends and 2 receives; messages need 8"), std::string::npos);
  EXPECT_NE(refused(over).find("neither connected nor about to be"), std::string::npos);
  std::uint64_t number = 0;
  EXPECT_EQ(owner_.add(&over.qp, {}, &number).code, EINVAL);
}

TEST_F(PeerSides, TheFunctionsOfC) {
  mrl_peers* peers = nullptr;
  mrl_peer* peer = nullptr;
  std::uint64_t number = 0;
  EXPECT_EQ(mrl_peers_create(nullptr), EINVAL);
  ASSERT_EQ(mrl_peers_create(&peers), 0);
  ibv_qp* const data = &data_.qp;
  ibv_qp* const itself = &near_.qp;
  EXPECT_EQ(mrl_peers_add(peers, nullptr, nullptr, 0, &number), EINVAL);
  EXPECT_EQ(mrl_peers_add(peers, &near_.qp, &itself, 1, &number), EINVAL);
  EXPECT_STREQ(mrl_last_error(), "control is one of data's queue pairs; it must serve nothing else");
  ASSERT_EQ(mrl_peers_add(peers, &near_.qp, &data, 1, &number), 0) << mrl_last_error();
  ASSERT_EQ(mrl_peer_create(&far_.qp, &peer), 0) << mrl_last_error();
  EXPECT_EQ(mrl_peers_status(peers, number), 0);
  EXPECT_EQ(mrl_peers_status(peers, number + 1), ENOENT);
  mrl_peers_info info{};
  EXPECT_EQ(mrl_peers_get_info(peers, &info), EINVAL);
  info.struct_size = sizeof info;
  ASSERT_EQ(mrl_peers_get_info(peers, &info), 0);
  EXPECT_EQ(info.peers, 1u);
  int anything = 0;
  auto* const region = reinterpret_cast<mrl_region*>(&anything);  // only compared
  EXPECT_EQ(mrl_peers_withdraw(peers, region, 10), ENOENT);
  mrl_event event{};
  event.struct_size = sizeof event;
  event.type = MRL_EVENT_RECALL;
  event.region = region;
  EXPECT_EQ(mrl_peers_event(peers, &event), 0) << "not offered, so nobody is asked";
  EXPECT_EQ(mrl_peers_event(peers, nullptr), EINVAL);
  mrl_target target{};
  EXPECT_EQ(mrl_peer_enter(peer, 1, &target, 0), EINVAL);
  target.struct_size = sizeof target;
  EXPECT_EQ(mrl_peer_enter(peer, 1, &target, 0), EAGAIN);
  EXPECT_STREQ(mrl_last_error(), "region 1 is not offered by the owner");
  EXPECT_EQ(mrl_peer_enter(peer, 1, &target, 5), ETIMEDOUT);
  EXPECT_EQ(mrl_peer_leave(peer, 1), EINVAL);
  EXPECT_EQ(mrl_peer_destroy(peer), 0);
  EXPECT_EQ(mrl_peers_remove(peers, number), 0);
  EXPECT_EQ(mrl_peers_destroy(peers), 0);
  EXPECT_EQ(FakeDevice::live, 0);
}

}  // namespace
}  // namespace mrlease::client::peers
