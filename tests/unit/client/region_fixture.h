// SPDX-License-Identifier: Apache-2.0
// A region against a scripted daemon and a device that only counts.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client-lib/src/region/region.h"
#include "tests/unit/client/fake_verbs.h"
#include "tests/unit/client/scripted_daemon.h"

namespace mrlease::client {
using wire::Frame;


inline constexpr std::uint64_t kPages = 16, kOffset = kPage, kLength = kPages * kPage;

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
    daemon_ = std::make_unique<ScriptedDaemon>(wire::Fd(pair[1]), daemon_version_);
    daemon_->grant_userfaultfd = userfaultfd;
    daemon_->granted.MergeFrom(daemon_granted_);
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
    spec.length = length_;
    spec.access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
    spec.write = true;
    spec.choice = {backing, transparent, "asked for"};
    spec.adopted = adopted_;
    spec.or_bounce = or_bounce_;
    spec.orphans = orphans_;
    spec.orphan_keep = orphan_keep_;
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
  bool or_bounce_ = false;
  std::uint64_t length_ = kLength;
  OrphanLimits orphans_;
  std::chrono::milliseconds orphan_keep_{0};
  std::uint32_t daemon_version_ = 1;
  wire::v1::Granted daemon_granted_;  // and what it says beside
  std::unique_ptr<ScriptedDaemon> daemon_;
  std::unique_ptr<Context> context_;
  std::shared_ptr<Region> region_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<mrl_event> events_;
  std::function<int(const mrl_event&)> act_;
  int leaked_ = 0;
};

}  // namespace mrlease::client
