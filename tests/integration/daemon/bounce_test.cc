// SPDX-License-Identifier: Apache-2.0
// Bounce leases end to end: what a device would write into the memfd reaches the file when it must, and no earlier.
#include <poll.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <future>

#include "tests/integration/daemon/fixture.h"
#include "tests/support/ring.h"

namespace mrlease::test {

class BounceTest : public DaemonTest {
 protected:
  char* map(const Message& granted) {
    memfd = granted.fds.at(0).get();
    return static_cast<char*>(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0));
  }
  int memfd = -1;
};

TEST_F(BounceTest, IsFilledFromTheFileAndFlushedForAForeignReader) {
  start();
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  char* pages = map(granted);
  EXPECT_EQ(pages[0], 'a');
  EXPECT_EQ(pages[kSize - 1], 'a');
  std::memset(pages + 4096, 'R', 100);
  Child reader([p = path] {
    char c = 0;
    const int f = ::open(p.c_str(), O_RDONLY);
    return f >= 0 && ::pread(f, &c, 1, 4096) == 1 ? c : 1;
  });
  EXPECT_EQ(reader.wait(), 'R');
}

// A lease of the client's own on the file (F_SETLEASE): the kernel would ask the daemon for the daemon's own write, and cannot.
TEST_F(BounceTest, IsFlushedWhereTheClientHasALeaseOfItsOwn) {
  start();
  char* pages = map(client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize));
  std::memset(pages + 4096, 'R', 100);
  if (::fcntl(fd.get(), F_GETLEASE) == F_WRLCK) GTEST_SKIP() << "the guard has one: needs FAN_PRE_ACCESS";
  ASSERT_EQ(::fcntl(fd.get(), F_SETSIG, SIGURG), 0);  // which nobody minds
  ASSERT_EQ(::fcntl(fd.get(), F_SETLEASE, F_WRLCK), 0) << errno;
  wire::Frame sync;
  sync.mutable_sync_file();
  EXPECT_EQ(status(client->call(std::move(sync), {fd.get()})).code(), 0) << daemon->log();
  ::fcntl(fd.get(), F_SETLEASE, F_UNLCK);
  char byte = 0;
  EXPECT_EQ(::pread(fd.get(), &byte, 1, 4096), 1);
  EXPECT_EQ(byte, 'R');
}

// Of a worker of io_uring's nobody can tell what it does. A request of one page may be a truncate into it, but is a read or a write mostly.
TEST_F(BounceTest, AWorkersPageIsFlushedBeforeAndMergedAfterwards) {
  start();
  char* pages = map(client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize));
  std::memset(pages + 4096, 'R', 100);
  const auto work = [p = path](int opcode, char byte, std::uint64_t at) {
    return [=] {
      static char buffer[4096];
      std::memset(buffer, byte, sizeof buffer);
      return by_worker(opcode, ::open(p.c_str(), O_RDWR), buffer, sizeof buffer, at) == sizeof buffer ? buffer[0] : 2;
    };
  };
  Child reader(work(IORING_OP_READ, 0, 4096));
  EXPECT_EQ(reader.wait(), 'R') << daemon->log();
  Child writer(work(IORING_OP_WRITE, 'w', 8192));
  EXPECT_EQ(writer.wait(), 'w') << daemon->log();
  client->call(to_register(v1::BACKING_BOUNCE, 0, kSize), {fd.get()});  // is refused when the write has come to its end
  EXPECT_EQ(pages[8192], 'w') << daemon->log();
  EXPECT_EQ(size(), kSize);
}

// As the library does when it settles and when it thaws. Its mmap(2) would be held for what the bounce pages owe, behind the very break that waits
// for this client.
TEST_F(BounceTest, WhoIsRecalledCanMapItsFile) {
  start();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize / 2);
  WireClient other(daemon->socket());
  map(other.lease(fd.get(), v1::BACKING_BOUNCE, kSize / 2, kSize / 2));
  const wire::Fd armed(::open(path.c_str(), O_RDWR | O_CLOEXEC));  // through it operations can be held
  const auto maps_while_recalled = [&](v1::Action action) {
    const Message recall = client->recall();
    EXPECT_EQ(recall.frame.recall().action(), action);
    auto mapped = std::async(std::launch::async, [&] { return ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, armed.get(), 0) != MAP_FAILED; });
    EXPECT_EQ(mapped.wait_for(std::chrono::milliseconds(1000)), std::future_status::ready) << "it waits for itself\n" << daemon->log();
    client->comply(recall.frame.recall());
    EXPECT_TRUE(mapped.get());
  };
  wire::Frame freeze;
  freeze.mutable_freeze_file()->set_hold_ms(60000);
  client->send(std::move(freeze), {fd.get()});
  client->comply(client->recall().frame.recall());
  const auto frozen = client->next();
  ASSERT_TRUE(frozen && frozen->frame.has_frozen());
  wire::Frame thaw;
  thaw.mutable_thaw_file()->set_freeze(frozen->frame.frozen().freeze());
  client->send(std::move(thaw));
  maps_while_recalled(v1::ACTION_THAW);
  Child cuts([p = path] { return ::truncate(p.c_str(), 4096) == 0 ? 0 : errno; });
  client->comply(client->recall().frame.recall());
  EXPECT_EQ(cuts.wait(), 0);
  maps_while_recalled(v1::ACTION_SETTLE);
}

// An fsync(2) of the client's has failed: what the daemon wrote before may be gone from the disk, and nobody tells it. 'X' shows whether it is
// written again: it was stored by a mapping, which nobody sees.
TEST_F(BounceTest, WhatAnFsyncOfAClientsHasFailedForIsWrittenAgain) {
  start();
  char* pages = map(client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize));
  auto* const file = static_cast<char*>(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  ASSERT_NE(file, MAP_FAILED);
  const auto flushed_by_a_reader = [this] {
    Child reader([p = path] {
      char c = 0;
      return ::pread(::open(p.c_str(), O_RDONLY), &c, 1, 4096) == 1 ? c : 1;
    });
    return reader.wait();
  };
  const auto sync = [this](bool failed, int descriptor) {
    wire::Frame f;
    f.mutable_sync_file()->set_failed(failed);
    return status(client->call(std::move(f), {descriptor})).code();
  };
  pages[4096] = 'R';
  ASSERT_EQ(flushed_by_a_reader(), 'R');
  file[4096] = 'X';
  EXPECT_EQ(sync(true, fd.get()), 0);
  EXPECT_EQ(file[4096], 'R');
  file[4096] = 'X';
  EXPECT_EQ(sync(true, fd.get()), 0);
  EXPECT_EQ(file[4096], 'X') << "it was synced since";
  pages[4096] = 'S';
  ASSERT_EQ(flushed_by_a_reader(), 'S');
  file[4096] = 'X';
  EXPECT_EQ(sync(false, fd.get()), 0);
  EXPECT_EQ(file[4096], 'X') << "nobody has said that one has failed";
  const wire::Fd reads(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(sync(true, reads.get()), EACCES);
  EXPECT_EQ(sync(false, reads.get()), 0);
  ::munmap(file, kSize);
}

TEST_F(BounceTest, TruncateIsAllowedWithoutTheClientAndTold) {
  start();
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  char* pages = map(granted);
  std::memset(pages, 'R', kSize);
  EXPECT_EQ(truncate_by_other(8192)->wait(), 0);
  const auto notice = client->next();
  ASSERT_TRUE(notice && notice->frame.has_notice());
  EXPECT_EQ(notice->frame.notice().kind(), v1::Notice::TRIMMED);
  EXPECT_EQ(notice->frame.notice().size(), 8192u);
  EXPECT_EQ(size(), 8192u);
  EXPECT_EQ(truncate_by_other(kSize)->wait(), 0);
  // What was cut off stays away until it is asked for, also when everything is flushed.
  wire::Frame sync;
  sync.mutable_sync_file();
  EXPECT_EQ(status(client->call(std::move(sync), {fd.get()})).code(), 0);
  EXPECT_EQ(byte_at(0), 'R');
  EXPECT_EQ(byte_at(8192), '\0');
  EXPECT_EQ(byte_at(kSize - 1), '\0');
  wire::Frame extend;
  extend.mutable_extend()->set_lease(granted.frame.granted().lease());
  const Message extended = client->call(std::move(extend));
  ASSERT_TRUE(extended.frame.has_extended()) << status(extended).message();
  EXPECT_EQ(extended.frame.extended().file_size(), kSize);
  EXPECT_EQ(pages[8192], '\0');
  pages[8192] = 'S';
  EXPECT_EQ(status(release(granted.frame.granted().lease())).code(), 0);
  EXPECT_EQ(byte_at(8192), 'S');
}

TEST_F(BounceTest, AClientThatDiesLosesNothing) {
  start();
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  Child dying([&] {
    WireClient own(daemon->socket());
    const int f = ::open(path.c_str(), O_RDWR);
    const Message granted = own.lease(f, v1::BACKING_BOUNCE, 0, kSize);
    char* pages = static_cast<char*>(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, granted.fds[0].get(), 0));
    std::memset(pages + 4096, 'D', 4096);
    const pid_t forked = ::fork();
    if (forked == 0) {  // a forked child holds the socket and everything else open
      ::pause();
      return 0;
    }
    if (::write(ready[1], &forked, sizeof forked) != sizeof forked) return 1;
    ::pause();
    return 0;
  });
  pid_t forked = 0;
  ASSERT_EQ(::read(ready[0], &forked, sizeof forked), static_cast<ssize_t>(sizeof forked));
  dying.kill(SIGKILL);
  EXPECT_EQ(dying.wait(), 128 + SIGKILL);
  // The lease is gone when another can have the range for itself.
  for (int i = 0;; i++) {
    ASSERT_LT(i, 1000);
    try {
      const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
      EXPECT_EQ(map(granted)[4096], 'D');
      break;
    } catch (const std::runtime_error&) {
      ::poll(nullptr, 0, 5);  // asking again is the only way to learn it
    }
  }
  EXPECT_EQ(byte_at(4096), 'D');
  EXPECT_EQ(::kill(forked, SIGKILL), 0);
}

TEST_F(BounceTest, AForeignWriteIsTakenOverAndSurvivesTheNextFlush) {
  start();
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  char* pages = map(granted);
  Child writer([p = path] {
    const int f = ::open(p.c_str(), O_RDWR);
    return ::pwrite(f, "FOREIGN", 7, 3 * 4096) == 7 ? 0 : errno;
  });
  EXPECT_EQ(writer.wait(), 0);
  pages[0] = 'R';
  wire::Frame sync;
  sync.mutable_sync_file();
  EXPECT_EQ(status(client->call(std::move(sync), {fd.get()})).code(), 0);
  EXPECT_EQ(byte_at(0), 'R');
  EXPECT_EQ(byte_at(3 * 4096), 'F');
  EXPECT_EQ(std::string(pages + 3 * 4096, 7), "FOREIGN");
}

// The lease guard holds the open, and not the write behind it: what was acknowledged before is in the file by then, and what was
// written is taken over when it is seen.
TEST_F(BounceTest, AWriteThatNoGuardHoldsIsTakenOverToo) {
  start();
  path = "/dev/shm/mrlease-bounce-" + std::to_string(::getpid());  // tmpfs has no FAN_PRE_ACCESS
  {
    std::ofstream(path) << std::string(kSize, 'a');
    ASSERT_EQ(::chmod(path.c_str(), 0666), 0);
  }
  fd = wire::Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  auto* const pages = reinterpret_cast<volatile char*>(map(granted));
  fd = {};  // one more opener, and nothing is held
  pages[4096] = 'R';
  pages[3 * 4096] = 'R';
  Child writer([p = path] {
    const int f = ::open(p.c_str(), O_RDWR);
    char seen = 0;
    if (f < 0 || ::pread(f, &seen, 1, 3 * 4096) != 1 || seen != 'R') return 1;
    return ::pwrite(f, "FOREIGN", 7, 3 * 4096) == 7 ? 0 : errno;
  });
  EXPECT_EQ(writer.wait(), 0) << daemon->log();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (pages[3 * 4096] != 'F' && std::chrono::steady_clock::now() < until) ::usleep(1000);
  EXPECT_EQ(pages[3 * 4096 + 6], 'N') << daemon->log();
  EXPECT_EQ(status(release(granted.frame.granted().lease())).code(), 0);
  fd = wire::Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(byte_at(4096), 'R');
  EXPECT_EQ(byte_at(3 * 4096), 'F');
  ::unlink(path.c_str());
}

TEST_F(BounceTest, WhatIsOwedIsWrittenWhenTheDaemonIsStopped) {
  start();
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  map(granted)[5] = 'Z';
  EXPECT_EQ(daemon->stop(SIGTERM), 0);
  EXPECT_EQ(byte_at(5), 'Z');
}

}  // namespace mrlease::test
