// SPDX-License-Identifier: Apache-2.0
// Who holds a file hostage: leases it in many sessions, answers nothing, takes each lease again as soon as it is fenced, and asks for
// syncs and freezes all the time. Each operation of the owner's ends within one recall and one fence, the tenth like the first.
#include <poll.h>

#include "tests/integration/daemon/fixture.h"

namespace mrlease::test {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr int kSessions = 8, kRounds = 10;
// A fence that has no time, on a busy machine, kills: then there is nobody to come again.
constexpr milliseconds kRecall{1000}, kFence{900}, kHold{400};
constexpr milliseconds kOneBreak = kRecall + kFence;
// Of a busy machine. One after the other, the sessions' recalls would take 8 s.
constexpr milliseconds kSlack{1500};

struct Hostage {
  std::string socket, path;
  bool may_write = false;
  int tell = -1;  // a byte for each lease
};

wire::Frame freeze_of(milliseconds hold) {
  wire::Frame f;
  f.mutable_freeze_file()->set_hold_ms(static_cast<std::uint32_t>(hold.count()));
  return f;
}

wire::Frame sync_of_all() {
  wire::Frame f;
  f.mutable_sync_file();
  return f;
}

// One session, in a process of its own, which ends only when it is not treated as it must be.
int hold(const Hostage& h, v1::Backing backing) {
  const wire::Fd file(::open(h.path.c_str(), (h.may_write ? O_RDWR : O_RDONLY) | O_CLOEXEC));
  if (!h.may_write && ::open(h.path.c_str(), O_RDWR) >= 0) return 1;
  WireClient mine(h.socket);
  for (;;) {
    struct stat now {};
    wire::Frame f;
    if (::fstat(file.get(), &now) != 0) return 2;
    auto* r = f.mutable_register_();
    r->mutable_range()->set_length(static_cast<std::uint64_t>(now.st_size));
    r->set_backing(backing);
    r->set_write(h.may_write);
    r->set_share(true);
    const Message granted = mine.call(std::move(f), {file.get()});
    if (granted.frame.status().code() == ERANGE) continue;  // it was cut meanwhile
    if (!granted.frame.has_granted()) return 3;
    if (h.may_write)
      mine.send(freeze_of(std::chrono::hours(1)), {file.get()});
    else if (mine.call(freeze_of(kHold), {file.get()}).frame.status().code() != EACCES)
      return 4;
    for (int i = 0; i < 2; i++) mine.send(sync_of_all(), {file.get()});
    if (::write(h.tell, "x", 1) != 1) return 5;
    for (bool fenced = false; !fenced;) {
      const auto m = mine.next(std::chrono::seconds(60));
      if (!m) return 6;
      fenced = m->frame.notice().kind() == v1::Notice::FENCED;
    }
    wire::Frame over;
    over.mutable_release()->set_lease(granted.frame.granted().lease());
    mine.call(std::move(over));
  }
}

}  // namespace

class HostageTest : public DaemonTest {
 protected:
  void SetUp() override {
    DaemonTest::SetUp();
    if (IsSkipped()) return;
    const auto ms = [](milliseconds t) { return std::to_string(t.count()); };
    start({"--recall-deadline-ms", ms(kRecall), "--fence-deadline-ms", ms(kFence), "--freeze-hold-max-ms", ms(kHold)});
    ASSERT_EQ(::chown(path.c_str(), 0, 0), 0);
    ASSERT_EQ(::pipe2(told, O_CLOEXEC), 0);
  }
  void TearDown() override {
    hostages.clear();
    for (const int end : told) ::close(end);
  }
  void take_hostage(bool may_write) {
    ASSERT_EQ(::chmod(path.c_str(), may_write ? 0666 : 0644), 0);
    for (int i = 0; i < kSessions; i++) {
      const auto backing = i % 2 == 0 ? v1::BACKING_ODP_TRANSPARENT : v1::BACKING_DIRECT;
      hostages.push_back(std::make_unique<Child>([=, h = Hostage{daemon->socket(), path, may_write, told[1]}] { return hold(h, backing); }));
    }
  }
  bool one_more_holds(milliseconds patience = milliseconds(20000)) {
    char x = 0;
    pollfd p{told[0], POLLIN, 0};
    return ::poll(&p, 1, static_cast<int>(patience.count())) == 1 && ::read(told[0], &x, 1) == 1;
  }
  // Each session has a lease that was not broken yet.
  bool all_hold() {
    int holding = 0;
    while (holding < kSessions && one_more_holds()) holding++;
    return holding == kSessions;
  }
  milliseconds truncate_by_owner(std::uint64_t to) {
    const auto began = steady_clock::now();
    Child owner([&] { return ::truncate(path.c_str(), static_cast<off_t>(to)) == 0 ? 0 : errno; }, false);
    EXPECT_EQ(owner.wait(), 0);
    EXPECT_EQ(size(), to);
    return std::chrono::duration_cast<milliseconds>(steady_clock::now() - began);
  }
  milliseconds ask(wire::Frame frame) {
    const auto began = steady_clock::now();
    last = client->call(std::move(frame), frame.has_thaw_file() ? std::vector<int>{} : std::vector<int>{fd.get()});
    const int code = last.frame.status().code();
    EXPECT_TRUE(code == 0 || code == ETIMEDOUT) << code;  // a thaw: its hold was over
    return std::chrono::duration_cast<milliseconds>(steady_clock::now() - began);
  }

  int told[2] = {-1, -1};
  std::vector<std::unique_ptr<Child>> hostages;
  Message last;
};

TEST_F(HostageTest, WhoMayOnlyReadCostsEachTruncateOneBound) {
  take_hostage(false);
  for (int i = 1; i <= kRounds; i++) {
    ASSERT_TRUE(all_hold()) << "round " << i;
    const milliseconds took = truncate_by_owner(kSize - 4096u * static_cast<unsigned>(i));
    EXPECT_LT(took, kOneBreak + kSlack) << "round " << i;
  }
  EXPECT_TRUE(all_hold()) << "nobody was in the way";
}

TEST_F(HostageTest, WhoMayOnlyReadDelaysNoFreezeAndNoSync) {
  take_hostage(false);
  ASSERT_TRUE(all_hold());
  for (int i = 0; i < kRounds; i++) {
    EXPECT_LT(ask(sync_of_all()), kOneBreak + kSlack);
    EXPECT_LT(ask(freeze_of(kHold)), kOneBreak + kSlack);
    ASSERT_TRUE(last.frame.has_frozen());
    wire::Frame thaw;
    thaw.mutable_thaw_file()->set_freeze(last.frame.frozen().freeze());
    EXPECT_LT(ask(std::move(thaw)), kOneBreak + kSlack);
  }
  EXPECT_FALSE(one_more_holds(kOneBreak)) << "somebody was asked, fenced, and has leased it anew";
}

// He freezes the file too: the longest hold, its way there and its way back come before the truncate's own bound, and no second
// freeze does.
TEST_F(HostageTest, WhoMayWriteCostsEachTruncateAFreezeToo) {
  take_hostage(true);
  for (int i = 1; i <= kRounds; i++) {
    ASSERT_TRUE(one_more_holds()) << "round " << i;
    EXPECT_LT(truncate_by_owner(kSize - 4096u * static_cast<unsigned>(i)), 3 * kOneBreak + kHold + kSlack) << "round " << i;
  }
}

}  // namespace mrlease::test
