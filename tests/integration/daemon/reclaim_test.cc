// SPDX-License-Identifier: Apache-2.0
// A daemon that ended without handing over, and the one after it: clients come back with what they have.
#include "tests/integration/daemon/fixture.h"

namespace mrlease::test {

class ReclaimTest : public DaemonTest {
 protected:
  // Another daemon, which knows of the one before only that it had clients.
  void replace(std::vector<std::string> options = {}) {
    daemon->stop(SIGKILL);
    daemon = std::make_unique<DaemonProcess>(*directory, std::move(options));
    client = std::make_unique<WireClient>(daemon->socket());
  }
  Message reclaim(v1::Backing backing, int memory = -1, std::uint64_t on_file_end = kSize) {
    wire::Frame f;
    v1::Register& r = *f.mutable_register_();
    r.mutable_range()->set_length(kSize);
    r.set_write(true);
    r.set_backing(backing);
    r.set_reclaim(true);
    r.set_on_file_end(on_file_end);
    return client->call(std::move(f), memory < 0 ? std::vector<int>{fd.get()} : std::vector<int>{fd.get(), memory});
  }
  void say_reclaimed() {
    wire::Frame f;
    f.mutable_reclaimed();
    EXPECT_EQ(status(client->call(std::move(f))).code(), 0);
  }
  // A client in a process of its own: 0 when it gets a lease.
  std::unique_ptr<Child> lease_by_other() {
    return std::make_unique<Child>([socket = daemon->socket(), p = path] {
      const wire::Fd own(::open(p.c_str(), O_RDWR | O_CLOEXEC));
      try {
        WireClient(socket).lease(own.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096, true, true);
        return 0;
      } catch (const std::exception&) {
        return 1;
      }
    });
  }
  void sync() {
    wire::Frame f;
    f.mutable_sync_file();
    EXPECT_EQ(status(client->call(std::move(f), {fd.get()})).code(), 0);
  }
};

TEST_F(ReclaimTest, BouncePagesComeBackWithWhatWasNotWritten) {
  start();
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  const int memory = granted.fds.at(0).get();
  ASSERT_EQ(::pwrite(memory, "RDMA", 4, 8192), 4);
  replace();
  ASSERT_EQ(::pwrite(fd.get(), "other", 5, 12288), 5);  // nobody protects: ours stays
  const Message again = reclaim(v1::BACKING_BOUNCE, memory);
  ASSERT_TRUE(again.frame.has_granted()) << status(again).message();
  say_reclaimed();
  ASSERT_EQ(::pwrite(memory, "MORE", 4, 4096), 4);
  sync();
  EXPECT_EQ(byte_at(4096), 'M');
  EXPECT_EQ(byte_at(8192), 'R');
  EXPECT_EQ(byte_at(12288), 'a');
  EXPECT_EQ(truncate_by_other(4096)->wait(), 0);
  const auto notice = client->next();
  ASSERT_TRUE(notice && notice->frame.has_notice());
  EXPECT_EQ(notice->frame.notice().size(), 4096u);
}

TEST_F(ReclaimTest, WhatWasCutOffBeforeStaysOff) {
  start();
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  const int memory = granted.fds.at(0).get();
  replace();
  ASSERT_EQ(::pwrite(memory, "orphan", 6, 8192), 6);
  const Message again = reclaim(v1::BACKING_BOUNCE, memory, 8192);
  ASSERT_TRUE(again.frame.has_granted()) << status(again).message();
  EXPECT_EQ(again.frame.granted().file_size(), 8192u);
  say_reclaimed();
  sync();
  EXPECT_EQ(byte_at(8192), 'a');
}

TEST_F(ReclaimTest, OfWhatWasCutOffWholeNotOneByteComesBack) {
  start();
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  const int memory = granted.fds.at(0).get();
  replace();
  ASSERT_EQ(::pwrite(memory, "orphan", 6, 0), 6);
  const Message again = reclaim(v1::BACKING_BOUNCE, memory, 0);
  ASSERT_TRUE(again.frame.has_granted()) << status(again).message();
  EXPECT_EQ(again.frame.granted().file_size(), 0u);
  say_reclaimed();
  sync();
  EXPECT_EQ(byte_at(0), 'a');
}

// What was written by RDMA while there was no daemon is in pages that this one does not have yet.
TEST_F(ReclaimTest, ASyncWaitsForThosePagesToo) {
  start();
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  const int memory = granted.fds.at(0).get();
  replace({"--reclaim-grace-ms", "60000"});
  ASSERT_EQ(::pwrite(memory, "RDMA", 4, 8192), 4);
  Child other([socket = daemon->socket(), p = path] {
    const wire::Fd own(::open(p.c_str(), O_RDWR | O_CLOEXEC));
    wire::Frame f;
    f.mutable_sync_file();
    const int code = static_cast<int>(WireClient(socket).call(std::move(f), {own.get()}).frame.status().code());
    char c = 0;
    return code != 0 ? code : ::pread(own.get(), &c, 1, 8192) == 1 && c == 'R' ? 0 : 200;
  });
  ASSERT_TRUE(other.blocked_in(SYS_poll)) << "it waits for its answer";
  ASSERT_TRUE(reclaim(v1::BACKING_BOUNCE, memory).frame.has_granted());
  say_reclaimed();
  EXPECT_EQ(other.wait(), 0);
}

TEST_F(ReclaimTest, AFileThatIsShorterNowIsGrantedAsItIs) {
  start();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  replace();
  ASSERT_EQ(::ftruncate(fd.get(), 4096), 0);
  const Message again = reclaim(v1::BACKING_ODP_TRANSPARENT);
  ASSERT_TRUE(again.frame.has_granted()) << status(again).message();
  EXPECT_EQ(again.frame.granted().file_size(), 4096u);
  EXPECT_EQ(status(release(again.frame.granted().lease())).code(), 0);
}

// It has come back with memory regions of which nobody has told the daemon: they reach the file without a lease then.
TEST_F(ReclaimTest, WhoseConnectionGoesBeforeItHasToldOfItsMemoryRegionsIsKilled) {
  start();
  Child hasty([socket = daemon->socket(), p = path] {
    const wire::Fd own(::open(p.c_str(), O_RDWR | O_CLOEXEC));
    WireClient holder(socket);
    if (!comes_back(holder, own.get())) return 1;
    holder.hang_up();
    ::pause();
    return 2;
  });
  EXPECT_EQ(hasty.wait(), 128 + SIGKILL);
}

TEST_F(ReclaimTest, OthersWaitUntilAllHaveReclaimed) {
  start();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  replace({"--reclaim-grace-ms", "60000"});
  auto other = lease_by_other();
  ASSERT_TRUE(other->blocked_in(SYS_poll)) << "it waits for its answer";
  const Message again = reclaim(v1::BACKING_ODP_TRANSPARENT);
  ASSERT_TRUE(again.frame.has_granted()) << status(again).message();
  say_reclaimed();
  EXPECT_EQ(other->wait(), 1) << "the range is taken";
  EXPECT_EQ(status(release(again.frame.granted().lease())).code(), 0);
}

TEST_F(ReclaimTest, TheGracePeriodEnds) {
  start();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  replace({"--reclaim-grace-ms", "50"});
  EXPECT_EQ(lease_by_other()->wait(), 0);
}

TEST_F(ReclaimTest, NobodyWaitsForTheDead) {
  start();
  Child dead([socket = daemon->socket(), p = path] {
    const wire::Fd own(::open(p.c_str(), O_RDWR | O_CLOEXEC));
    WireClient holder(socket);
    holder.lease(own.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096);
    ::pause();
    return 0;
  });
  ASSERT_TRUE(dead.blocked_in(SYS_pause));
  daemon->stop(SIGKILL);
  dead.kill(SIGKILL);
  dead.wait();
  replace({"--reclaim-grace-ms", "60000"});
  EXPECT_EQ(lease_by_other()->wait(), 0);
}

TEST_F(ReclaimTest, MemoryThatCouldShrinkIsRefused) {
  start();
  client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  replace({"--reclaim-grace-ms", "10"});
  const wire::Fd loose(::memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(loose.get(), kSize), 0);
  EXPECT_EQ(status(reclaim(v1::BACKING_BOUNCE, loose.get())).code(), EINVAL);
  const wire::Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_EQ(status(reclaim(v1::BACKING_BOUNCE, file.get())).code(), EINVAL);
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize)) << "nothing is left of them";
}

}  // namespace mrlease::test
