// SPDX-License-Identifier: Apache-2.0
// A region's life and every recall, against a scripted daemon and a device that only counts.
#include "client-lib/src/region/region.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <future>

#include "tests/unit/client/fake_verbs.h"
#include "tests/unit/client/scripted_daemon.h"

namespace mrlease::client {
namespace {
using wire::Frame;

constexpr std::uint64_t kPages = 16, kOffset = kPage, kLength = kPages * kPage;

class RegionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string path = ::testing::TempDir() + "/mrlease-region-XXXXXX";
    file_ = wire::Fd(::mkostemp(path.data(), O_CLOEXEC));
    ::unlink(path.c_str());
    const std::string content(kOffset + kLength, 'a');
    ASSERT_EQ(::pwrite(file_.get(), content.data(), content.size(), 0), static_cast<ssize_t>(content.size()));
  }
  void TearDown() override {
    if (region_) {
      (void)region_->dereg();
      region_.reset();
    }
    context_.reset();
    EXPECT_EQ(FakeDevice::live + 0, leaked_);
  }
  // False: this machine grants no userfaultfd.
  bool connect(bool userfaultfd = false) {
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    daemon_ = std::make_unique<ScriptedDaemon>(wire::Fd(pair[1]));
    daemon_->grant_userfaultfd = userfaultfd;
    Context::Options options;
    options.callback = &RegionTest::on_event;
    options.user = this;
    const Outcome o = Context::open(wire::Fd(pair[0]), options, &context_);
    EXPECT_TRUE(o.ok()) << o.text;
    return !userfaultfd || context_->resolver() != nullptr;
  }
  Outcome reg(mrl_backing backing, bool transparent = false) {
    RegionSpec spec;
    spec.pd = &device_.pd;
    spec.file = wire::Fd(::dup(file_.get()));
    spec.offset = kOffset;
    spec.length = kLength;
    spec.access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
    spec.write = true;
    spec.choice = {backing, transparent, "asked for"};
    spec.adopted = adopted_;
    return Region::create(*context_, std::move(spec), handle(), &region_);
  }
  static mrl_region* handle() { return reinterpret_cast<mrl_region*>(16); }
  static int on_event(const mrl_event* event, void* user) {
    auto* self = static_cast<RegionTest*>(user);
    std::function<int(const mrl_event&)> act;
    {
      std::lock_guard lock(self->mutex_);
      self->events_.push_back(*event);
      self->changed_.notify_all();
      act = self->act_;
    }
    return act ? act(*event) : 0;
  }
  mrl_event wait_for(mrl_event_type type, std::size_t nth = 1) {
    std::unique_lock lock(mutex_);
    mrl_event found{};
    const bool came = changed_.wait_for(lock, std::chrono::seconds(30), [&] {
      std::size_t n = 0;
      for (const auto& e : events_) {
        if (e.type == type && ++n == nth) {
          found = e;
          return true;
        }
      }
      return false;
    });
    EXPECT_TRUE(came) << "no event " << type;
    return found;
  }
  std::size_t count(mrl_event_type type) {
    std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(
        std::count_if(events_.begin(), events_.end(), [&](const mrl_event& e) { return e.type == type; }));
  }
  void act(std::function<int(const mrl_event&)> act) {
    std::lock_guard lock(mutex_);
    act_ = std::move(act);
  }
  wire::v1::Recall recall(wire::v1::Action action, std::uint64_t store = 0) {
    wire::v1::Recall r;
    r.set_lease(1);
    r.set_action(action);
    r.set_offset(kOffset);
    r.set_length(kLength);
    r.set_store(store);
    r.set_size(kOffset + kLength);
    return r;
  }
  char& at(std::uint64_t page) { return static_cast<char*>(region_->address())[page * kPage]; }
  char in_file(std::uint64_t page) {
    char c = 0;
    (void)!::pread(file_.get(), &c, 1, static_cast<off_t>(kOffset + page * kPage));
    return c;
  }
  mrl_info info() {
    mrl_info i{};
    i.struct_size = sizeof i;
    region_->info(&i);
    return i;
  }

  char* adopt() {
    void* const got = ::mmap(nullptr, kLength, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), kOffset);
    return adopted_ = got == MAP_FAILED ? nullptr : static_cast<char*>(got);
  }

  FakeDevice device_;
  wire::Fd file_;
  char* adopted_ = nullptr;
  std::unique_ptr<ScriptedDaemon> daemon_;
  std::unique_ptr<Context> context_;
  std::shared_ptr<Region> region_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<mrl_event> events_;
  std::function<int(const mrl_event&)> act_;
  int leaked_ = 0;
};

TEST_F(RegionTest, BounceLivesAndIsReleasedInOrder) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_BOUNCE).ok());
  EXPECT_NE(region_->mr(), nullptr);
  EXPECT_EQ(info().size, kLength);
  EXPECT_EQ(info().generation, 1u);
  std::vector<int> order;
  daemon_->script([&](ScriptedDaemon&, const Frame& f) {
    order.push_back(f.body_case());
    EXPECT_EQ(FakeDevice::live.load(), f.has_release() ? 0 : 1);
    return false;
  });
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(order, (std::vector<int>{Frame::kRemoveMr, Frame::kRelease}));
  EXPECT_EQ(FakeDevice::deregistered, 1);
  region_.reset();
}

// The application's mapping: bounce memory while it is leased, the file's before and after.
TEST_F(RegionTest, AnAdoptedMappingIsGivenBack) {
  for (const mrl_backing backing : {MRL_BACKING_BOUNCE, MRL_BACKING_DIRECT, MRL_BACKING_ODP_COOPERATIVE}) {
    connect();
    ASSERT_NE(adopt(), nullptr);
    ASSERT_TRUE(reg(backing).ok());
    EXPECT_EQ(region_->address(), adopted_);
    at(3) = static_cast<char>('A' + backing);
    EXPECT_EQ(in_file(3) == at(3), backing != MRL_BACKING_BOUNCE);
    EXPECT_TRUE(region_->dereg().ok());
    region_.reset();
    adopted_[5 * kPage] = static_cast<char>('a' + backing);
    EXPECT_EQ(in_file(5), 'a' + backing) << "it is the file's";
    EXPECT_EQ(adopted_[3 * kPage], in_file(3));
    ::munmap(std::exchange(adopted_, nullptr), kLength);
    context_.reset();
  }
}

TEST_F(RegionTest, AnAdoptedMappingOutlivesARefusal) {
  connect();
  ASSERT_NE(adopt(), nullptr);
  daemon_->script([](ScriptedDaemon& d, const Frame& f) {
    if (f.has_register_()) d.reply_status(f, EBUSY, "overlaps");
    return f.has_register_();
  });
  for (const mrl_backing backing : {MRL_BACKING_BOUNCE, MRL_BACKING_ODP_COOPERATIVE}) {
    EXPECT_EQ(reg(backing).code, EBUSY);
    adopted_[kPage] = static_cast<char>('p' + backing);
    EXPECT_EQ(in_file(1), 'p' + backing);
  }
  ::munmap(adopted_, kLength);
}

TEST_F(RegionTest, ARefusedLeaseLeavesNothing) {
  connect();
  daemon_->script([](ScriptedDaemon& d, const Frame& f) {
    if (f.has_register_()) d.reply_status(f, EBUSY, "overlaps a write lease of process 12");
    return f.has_register_();
  });
  const Outcome o = reg(MRL_BACKING_BOUNCE);
  EXPECT_EQ(o.code, EBUSY);
  EXPECT_EQ(o.text, "overlaps a write lease of process 12");
  EXPECT_EQ(FakeDevice::live, 0);
}

// A store to a page that its memory does not have would be SIGBUS.
TEST_F(RegionTest, ABounceLeaseWithTooLittleMemoryIsGivenBack) {
  connect();
  const wire::Fd memory(::memfd_create("bounce", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(memory.get(), kLength - kPage), 0);
  daemon_->script([&](ScriptedDaemon& d, const Frame& f) {
    if (!f.has_register_()) return false;
    Frame granted;
    granted.mutable_granted()->set_lease(1);
    granted.mutable_granted()->set_backing(wire::v1::BACKING_BOUNCE);
    d.reply(f, std::move(granted), {memory.get()});
    return true;
  });
  const Outcome o = reg(MRL_BACKING_BOUNCE);
  EXPECT_EQ(o.code, EPROTO);
  EXPECT_NE(o.text.find("61440 bytes of memory"), std::string::npos) << o.text;
  EXPECT_EQ(daemon_->count(Frame::kRelease), 1);
}

TEST_F(RegionTest, ARegistrationThatFailsGivesTheLeaseBack) {
  connect();
  FakeDevice::fail_with = EFAULT;
  const Outcome o = reg(MRL_BACKING_DIRECT);
  EXPECT_EQ(o.code, EOPNOTSUPP);
  EXPECT_NE(o.text.find("6.5 and later"), std::string::npos) << o.text;
  EXPECT_EQ(daemon_->count(Frame::kRelease), 1);
}

TEST_F(RegionTest, DirectQuiesceAndReregister) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  const std::uint32_t old_key = region_->rkey();
  ASSERT_EQ(region_->guard().enter(), 0);
  const std::uint64_t id = daemon_->send_recall(recall(wire::v1::ACTION_QUIESCE));
  EXPECT_EQ(wait_for(MRL_EVENT_RECALL).recall, id);
  EXPECT_EQ(daemon_->count(Frame::kRecallDone), 0) << "somebody is still posting";
  EXPECT_NE(region_->mr(), nullptr);
  region_->guard().leave();
  EXPECT_EQ(daemon_->wait_done(id), 0);
  EXPECT_EQ(FakeDevice::live, 0);
  EXPECT_EQ(region_->mr(), nullptr);
  EXPECT_EQ(region_->guard().enter(), EAGAIN);
  auto again = recall(wire::v1::ACTION_REREGISTER);
  again.set_size(kOffset + 3 * kPage + 5);
  ASSERT_EQ(::ftruncate(file_.get(), static_cast<off_t>(again.size())), 0);
  EXPECT_EQ(daemon_->recall(again), 0);
  EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED).size, 3 * kPage + 5);
  const mrl_event restored = wait_for(MRL_EVENT_RESTORED);
  EXPECT_EQ(restored.generation, 2u);
  EXPECT_NE(restored.rkey, old_key);
  EXPECT_EQ(restored.rkey, region_->rkey());
  EXPECT_EQ(region_->mr()->length, 4 * kPage);
  EXPECT_EQ(region_->guard().enter(), 0);
  region_->guard().leave();
}

// A daemon was killed after its order was carried out, and its successor gives it again: whoever uses the memory region is
// not cut off.
TEST_F(RegionTest, DirectReregisteredTwiceStaysWhatItIs) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  auto again = recall(wire::v1::ACTION_REREGISTER);
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), 0);
  wait_for(MRL_EVENT_RECALL);
  ASSERT_EQ(daemon_->recall(again), 0);
  wait_for(MRL_EVENT_RESTORED);
  const std::uint32_t key = region_->rkey();
  EXPECT_EQ(daemon_->recall(again), 0);
  EXPECT_EQ(region_->rkey(), key);
  EXPECT_EQ(info().generation, 2u);
  EXPECT_EQ(daemon_->count(Frame::kRemoveMr), 1);

  // The file ends elsewhere in its last page: that needs no other memory region, but is told.
  again.set_size(kOffset + kLength - 5);
  EXPECT_EQ(daemon_->recall(again), 0);
  EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED).size, kLength - 5);
  EXPECT_EQ(region_->rkey(), key);

  // Of another size: the application is asked first.
  again.set_size(kOffset + 3 * kPage);
  ASSERT_EQ(::ftruncate(file_.get(), static_cast<off_t>(again.size())), 0);
  EXPECT_EQ(daemon_->recall(again), 0);
  wait_for(MRL_EVENT_RECALL, 2);
  EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED, 2).size, 3 * kPage);
  EXPECT_EQ(wait_for(MRL_EVENT_RESTORED, 2).generation, 3u);
  EXPECT_EQ(region_->mr()->length, 3 * kPage);
  EXPECT_EQ(FakeDevice::live, 1);
}

// Nothing held who cut the file after the daemon had looked: pages that are gone cannot be pinned (EFAULT).
TEST_F(RegionTest, DirectReregistersWhatIsLeftOfTheFile) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), 0);
  ASSERT_EQ(::ftruncate(file_.get(), kOffset + 2 * kPage), 0);
  FakeDevice::fail_with = EFAULT;
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_REREGISTER)), 0);
  EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED).size, 2 * kPage);
  wait_for(MRL_EVENT_RESTORED);
  EXPECT_EQ(region_->mr()->length, 2 * kPage);
}

TEST_F(RegionTest, SeveralMemoryRegionsAreOfOneLease) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  unsigned index = 0;
  ibv_pd other{};
  other.context = &device_.context;
  ASSERT_TRUE(region_->add_mr(&other, IBV_ACCESS_REMOTE_READ, &index).ok());
  EXPECT_EQ(index, 1u);
  ASSERT_NE(region_->mr(1), nullptr);
  EXPECT_EQ(region_->mr(1)->pd, &other);
  EXPECT_EQ(region_->mr(0), region_->mr());
  EXPECT_EQ(region_->mr(2), nullptr);
  EXPECT_EQ(daemon_->count(Frame::kAddMr), 2);

  FakeDevice::fail_with = ENOMEM;
  EXPECT_EQ(region_->add_mr(&other, IBV_ACCESS_REMOTE_READ, &index).code, ENOMEM);
  EXPECT_NE(region_->mr(1), nullptr);
  EXPECT_EQ(FakeDevice::live, 2);

  // Both go for a recall, and both come again.
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), 0);
  EXPECT_EQ(FakeDevice::live, 0);
  EXPECT_EQ(region_->mr(0), nullptr);
  EXPECT_EQ(region_->mr(1), nullptr);
  EXPECT_EQ(region_->add_mr(&other, IBV_ACCESS_REMOTE_READ, &index).code, EAGAIN);
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_REREGISTER)), 0);
  EXPECT_EQ(FakeDevice::live, 2);
  EXPECT_NE(region_->mr(1), nullptr);
  EXPECT_EQ(info().generation, 2u);
  EXPECT_EQ(daemon_->count(Frame::kAddMr), 4);

  // One that cannot be had again: none is.
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), 0);
  int adds = 0;
  daemon_->script([&](ScriptedDaemon& d, const Frame& f) {
    if (!f.has_add_mr() || ++adds != 2) return false;
    d.reply_status(f, ENOMEM, "no");
    return true;
  });
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_REREGISTER)), ENOMEM);
  EXPECT_EQ(FakeDevice::live, 0);
  EXPECT_EQ(region_->mr(0), nullptr);
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(FakeDevice::live, 0);
  region_.reset();
}

TEST_F(RegionTest, ARecallCanBeAnsweredLater) {
  connect();
  act([](const mrl_event& e) { return e.type == MRL_EVENT_RECALL ? EINPROGRESS : 0; });
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  const std::uint64_t id = daemon_->send_recall(recall(wire::v1::ACTION_QUIESCE));
  wait_for(MRL_EVENT_RECALL);
  EXPECT_EQ(region_->complied(id + 1).code, EINVAL);
  EXPECT_TRUE(region_->complied(id).ok());
  EXPECT_EQ(daemon_->wait_done(id), 0);
  EXPECT_EQ(region_->complied(id).code, EINVAL);
}

TEST_F(RegionTest, WhoDoesNotAnswerIsReported) {
  connect();
  act([](const mrl_event& e) { return e.type == MRL_EVENT_RECALL ? EINPROGRESS : 0; });
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  auto r = recall(wire::v1::ACTION_QUIESCE);
  r.set_deadline_ms(50);
  EXPECT_EQ(daemon_->recall(r), ETIMEDOUT);
  EXPECT_EQ(FakeDevice::live, 1) << "the keys stay until the fence";
}

// Where policy denies the operation for it, the lease lives on, and nothing more comes from the daemon.
TEST_F(RegionTest, WhoDoesNotComplyGoesOn) {
  for (const int answer : {EINPROGRESS, EACCES}) {
    connect();
    act([=](const mrl_event& e) { return e.type == MRL_EVENT_RECALL ? answer : 0; });
    ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
    ibv_mr* const before = region_->mr();
    auto r = recall(wire::v1::ACTION_QUIESCE);
    r.set_deadline_ms(50);
    EXPECT_EQ(daemon_->recall(r), answer == EACCES ? ECANCELED : ETIMEDOUT);
    EXPECT_EQ(region_->guard().enter(), 0);
    region_->guard().leave();
    EXPECT_EQ(region_->mr(), before);
    EXPECT_EQ(wait_for(MRL_EVENT_RESTORED).rkey, region_->rkey());
    EXPECT_TRUE(region_->dereg().ok());
    region_.reset();
    context_.reset();
    events_.clear();
  }
}

// An order that holds is not undone for one that was refused after it.
TEST_F(RegionTest, WhoIsQuietByAnotherOrderStaysQuiet) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), 0);
  act([](const mrl_event& e) { return e.type == MRL_EVENT_RECALL ? EACCES : 0; });
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), ECANCELED);
  EXPECT_EQ(region_->guard().enter(), EAGAIN);
  EXPECT_EQ(FakeDevice::live, 0);
  EXPECT_EQ(count(MRL_EVENT_RESTORED), 0u);
}

// One memory region was gone already when the other could not be deregistered.
TEST_F(RegionTest, WhatIsLeftOfARefusedRecallIsRegisteredAgain) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  unsigned index = 0;
  ASSERT_TRUE(region_->add_mr(&device_.pd, IBV_ACCESS_REMOTE_READ, &index).ok());
  ibv_mr* const bound = region_->mr(1);
  int removed = 0;
  daemon_->script([&](ScriptedDaemon&, const Frame& f) {
    if (f.has_remove_mr()) FakeDevice::windows = removed++;
    return false;
  });
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_QUIESCE)), EBUSY);
  EXPECT_EQ(wait_for(MRL_EVENT_RESTORED).generation, 2u);
  EXPECT_EQ(region_->guard().enter(), 0);
  region_->guard().leave();
  EXPECT_NE(region_->mr(), nullptr);
  EXPECT_EQ(region_->mr(1), bound);
  EXPECT_EQ(FakeDevice::live, 2);
  FakeDevice::windows = 0;
  daemon_->script({});
}

// The store is too small to be written to (RLIMIT_FSIZE would do as well): the memory regions were gone by then.
TEST_F(RegionTest, AFreezeThatCannotBeCopiedLeavesTheRegionInUse) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  const wire::Fd sealed(::memfd_create("store", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::fcntl(sealed.get(), F_ADD_SEALS, F_SEAL_GROW), 0);
  Frame f;
  *f.mutable_recall() = recall(wire::v1::ACTION_FREEZE, 5);
  f.mutable_recall()->set_recall(77);
  f.mutable_recall()->set_deadline_ms(20000);
  daemon_->send(f, {sealed.get()});
  EXPECT_EQ(daemon_->wait_done(77), EPERM);
  wait_for(MRL_EVENT_RESTORED);
  EXPECT_EQ(region_->guard().enter(), 0);
  region_->guard().leave();
  EXPECT_NE(region_->mr(), nullptr);
  at(3) = 'c';
  EXPECT_EQ(in_file(3), 'c') << "it is on the file";
}

TEST_F(RegionTest, DirectFreezeMovesToTheStoreAndBack) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_FREEZE, 5)), 0);
  EXPECT_EQ(wait_for(MRL_EVENT_RESTORED).backing, MRL_BACKING_BOUNCE);
  std::memset(region_->address(), 'b', kLength);  // the store of this script is empty: fill all of it
  EXPECT_EQ(in_file(3), 'a');
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_THAW, 5)), 0);
  EXPECT_EQ(in_file(3), 'b');
  EXPECT_EQ(wait_for(MRL_EVENT_RESTORED, 2).backing, MRL_BACKING_DIRECT);
  at(3) = 'c';
  EXPECT_EQ(in_file(3), 'c');
  EXPECT_EQ(info().generation, 3u);
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_DIRTY)), 0);
}

TEST_F(RegionTest, CooperativeFreezeCopiesAndThawMerges) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_ODP_COOPERATIVE).ok());
  const std::uint32_t key = region_->rkey();
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_FREEZE, 5)), 0);
  EXPECT_EQ(count(MRL_EVENT_RECALL), 0u) << "a freeze asks nobody";
  at(2) = 'w';
  EXPECT_EQ(in_file(2), 'a');
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_THAW, 5)), 0);
  EXPECT_EQ(count(MRL_EVENT_RECALL), 1u);
  EXPECT_EQ(in_file(2), 'w');
  EXPECT_EQ(wait_for(MRL_EVENT_RESTORED).rkey, key);
  EXPECT_EQ(info().pages_merged, 1u);
  at(2) = 'x';
  EXPECT_EQ(in_file(2), 'x');
}

TEST_F(RegionTest, CooperativeTrimAndExtend) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_ODP_COOPERATIVE).ok());
  auto trim = recall(wire::v1::ACTION_TRIM, 6);
  trim.set_offset(kOffset + 4 * kPage);
  trim.set_length(kLength - 4 * kPage);
  ASSERT_EQ(daemon_->recall(trim), 0);
  EXPECT_EQ(region_->guard().enter(), EAGAIN);
  ASSERT_EQ(::ftruncate(file_.get(), kOffset + 4 * kPage), 0);
  auto settle = recall(wire::v1::ACTION_SETTLE, 6);
  settle.set_size(kOffset + 4 * kPage);
  ASSERT_EQ(daemon_->recall(settle), 0);
  EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED).size, 4 * kPage);
  wait_for(MRL_EVENT_RESTORED);
  at(10) = 'o';  // an orphan: no SIGBUS
  ASSERT_EQ(::ftruncate(file_.get(), kOffset + kLength), 0);
  std::uint64_t size = 0;
  ASSERT_TRUE(region_->extend(&size).ok());
  EXPECT_EQ(size, kLength);
  EXPECT_EQ(at(10), 0);
  at(10) = 'n';
  EXPECT_EQ(in_file(10), 'n');
}

TEST_F(RegionTest, TransparentFreezeThawTrimSettleExtend) {
  if (!connect(true)) GTEST_SKIP() << context_->userfaultfd_reason();
  ASSERT_TRUE(reg(MRL_BACKING_ODP, true).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_FREEZE, 5)), 0);
  at(2) = 'w';
  EXPECT_EQ(in_file(2), 'a');
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_THAW, 5)), 0);
  EXPECT_EQ(in_file(2), 'w');
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_TRIM, 6)), 0);
  ASSERT_EQ(::ftruncate(file_.get(), kOffset), 0);
  auto settle = recall(wire::v1::ACTION_SETTLE, 6);
  settle.set_size(kOffset);
  ASSERT_EQ(daemon_->recall(settle), 0);
  EXPECT_EQ(wait_for(MRL_EVENT_TRIMMED).size, 0u);
  at(1) = 'o';
  ASSERT_EQ(::ftruncate(file_.get(), kOffset + kLength), 0);
  ASSERT_TRUE(region_->extend(nullptr).ok());
  at(1) = 'n';
  EXPECT_EQ(in_file(1), 'n');
  EXPECT_EQ(count(MRL_EVENT_RECALL), 0u) << "nobody is asked";
  EXPECT_EQ(info().generation, 1u);
  EXPECT_EQ(info().recalls, 4u);
}

// Destroyed by the daemon: the handle may be a stranger's, so ibv_dereg_mr must not be called.
TEST_F(RegionTest, AfterAFenceNothingIsDeregistered) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_BOUNCE).ok());
  daemon_->notice(wire::v1::Notice::FENCED, 1);
  wait_for(MRL_EVENT_FENCED);
  EXPECT_EQ(region_->mr(), nullptr);
  EXPECT_EQ(region_->guard().enter(), EKEYREVOKED);
  EXPECT_EQ(info().fenced, 1);
  EXPECT_TRUE(region_->dereg().ok());
  region_.reset();
  EXPECT_EQ(FakeDevice::deregistered, 0);
  EXPECT_EQ(context_->leaked_mrs, 1u);
  leaked_ = 1;
}

TEST_F(RegionTest, FencedWhileTheCallbackRuns) {
  connect();
  std::promise<void> inside, leave;
  act([&](const mrl_event& e) {
    if (e.type == MRL_EVENT_RECALL) {
      inside.set_value();
      leave.get_future().wait();
    }
    return 0;
  });
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  const std::uint64_t id = daemon_->send_recall(recall(wire::v1::ACTION_QUIESCE));
  inside.get_future().wait();
  daemon_->notice(wire::v1::Notice::FENCED, 1);
  EXPECT_EQ(daemon_->wait_done(id), EKEYREVOKED);
  leave.set_value();
  wait_for(MRL_EVENT_FENCED);
  EXPECT_EQ(count(MRL_EVENT_FENCED), 1u);
  leaked_ = 1;
}

TEST_F(RegionTest, FencedInTheMiddleOfAThaw) {
  if (!connect(true)) GTEST_SKIP() << context_->userfaultfd_reason();
  ASSERT_TRUE(reg(MRL_BACKING_ODP, true).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_FREEZE, 5)), 0);
  at(2) = 'w';
  daemon_->script([](ScriptedDaemon& d, const Frame& f) {
    if (!f.has_merge()) return false;
    d.notice(wire::v1::Notice::FENCED, 1);
    d.reply_status(f, EKEYREVOKED, "fenced");
    return true;
  });
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_THAW, 5)), EKEYREVOKED);
  wait_for(MRL_EVENT_FENCED);
  // dereg waits for the restoring that the fence has started.
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(count(MRL_EVENT_FENCED), 1u);
  region_.reset();
  leaked_ = 1;
}

TEST_F(RegionTest, RevokedByRelease) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_BOUNCE).ok());
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_RELEASE)), 0);
  EXPECT_EQ(count(MRL_EVENT_RECALL), 1u);
  EXPECT_EQ(FakeDevice::live, 0);
  wait_for(MRL_EVENT_FENCED);
  EXPECT_TRUE(region_->dereg().ok());
  region_.reset();
}

// The daemon was replaced before it had read the answer: its successor knows of no such recall, and would keep the lease for ever.
TEST_F(RegionTest, WhoHasObeyedAReleaseTellsASuccessor) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_BOUNCE).ok());
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_RELEASE)), 0);
  EXPECT_EQ(daemon_->count(Frame::kRelease), 0) << "the daemon that asked has the answer";
  Frame resume;
  resume.mutable_resume();
  daemon_->send(resume);
  EXPECT_TRUE(daemon_->wait_for(Frame::kRelease, 1));
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_RELEASE)), 0) << "a successor that asks again is not refused";
  EXPECT_TRUE(region_->dereg().ok());
  region_.reset();
}

TEST_F(RegionTest, WhoObeysAReleaseWhileTheDaemonIsReplacedTellsTheSuccessor) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_BOUNCE).ok());
  daemon_->script([](ScriptedDaemon& d, const Frame& f) {
    if (!f.has_remove_mr()) return false;
    Frame resume;
    resume.mutable_resume();
    d.send(resume);
    d.reply_status(f, 0);
    return true;
  });
  EXPECT_EQ(daemon_->recall(recall(wire::v1::ACTION_RELEASE)), 0);
  EXPECT_TRUE(daemon_->wait_for(Frame::kRelease, 1));
  EXPECT_TRUE(region_->dereg().ok());
  region_.reset();
}

// Without a daemon: deregistered at once; what is frozen goes into the file from here.
TEST_F(RegionTest, DisconnectedThawsByItself) {
  if (!connect(true)) GTEST_SKIP() << context_->userfaultfd_reason();
  ASSERT_TRUE(reg(MRL_BACKING_ODP, true).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_FREEZE, 5)), 0);
  at(2) = 'w';
  daemon_->hang_up();
  wait_for(MRL_EVENT_DISCONNECTED);
  EXPECT_TRUE(region_->sync(kOffset, 0).ok());
  EXPECT_EQ(in_file(2), 'w');
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(FakeDevice::live, 0);
  region_.reset();
}

TEST_F(RegionTest, DisconnectedBounceIsWrittenAtDereg) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_BOUNCE).ok());
  std::memset(region_->address(), 'z', kLength);
  daemon_->hang_up();
  wait_for(MRL_EVENT_DISCONNECTED);
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(in_file(7), 'z');
  region_.reset();
}

// A recall that races with dereg is answered, and dereg does not wait for the application.
TEST_F(RegionTest, DeregWhileARecallWaitsForTheApplication) {
  connect();
  act([](const mrl_event& e) { return e.type == MRL_EVENT_RECALL ? EINPROGRESS : 0; });
  ASSERT_TRUE(reg(MRL_BACKING_DIRECT).ok());
  const std::uint64_t id = daemon_->send_recall(recall(wire::v1::ACTION_QUIESCE));
  wait_for(MRL_EVENT_RECALL);
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(daemon_->wait_done(id), 0);
  EXPECT_EQ(FakeDevice::deregistered, 1);
  region_.reset();
}

// Whoever says that a thaw is done has brought the store to the file. A region that is being deregistered never will.
TEST_F(RegionTest, AThawDuringDeregIsTheDaemonsToDo) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_ODP_COOPERATIVE).ok());
  ASSERT_EQ(daemon_->recall(recall(wire::v1::ACTION_FREEZE, 5)), 0);
  at(2) = 'w';
  std::atomic<std::uint64_t> id{0};
  daemon_->script([&](ScriptedDaemon& d, const wire::Frame& f) {
    if (f.has_release()) id = d.send_recall(recall(wire::v1::ACTION_THAW, 5));
    return false;
  });
  EXPECT_TRUE(region_->dereg().ok());
  EXPECT_EQ(daemon_->wait_done(id), ECANCELED);
  daemon_->script({});
  region_.reset();
}

TEST_F(RegionTest, SyncChecksItsRange) {
  connect();
  ASSERT_TRUE(reg(MRL_BACKING_BOUNCE).ok());
  EXPECT_EQ(region_->sync(0, 1).code, EINVAL);
  EXPECT_EQ(region_->sync(kOffset, kLength + 1).code, EINVAL);
  EXPECT_TRUE(region_->sync(kOffset, 0).ok());
  EXPECT_EQ(daemon_->count(Frame::kSyncFile), 1);
}

}  // namespace
}  // namespace mrlease::client
