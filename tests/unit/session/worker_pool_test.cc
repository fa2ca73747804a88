// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/worker_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <future>

namespace mrlease::session {

TEST(WorkerPool, AWorkerThatHangsDoesNotHoldUpTheNext) {
  WorkerPool pool(4);
  std::promise<void> release, hanging;
  auto released = release.get_future().share();
  pool.run([&, released] {
    hanging.set_value();
    released.wait();
  });
  hanging.get_future().wait();
  std::promise<void> done;
  pool.run([&] { done.set_value(); });
  EXPECT_EQ(done.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
  release.set_value();
}

TEST(WorkerPool, RunsEverythingWithFewThreads) {
  WorkerPool pool(2);
  std::atomic<int> count{0};
  std::promise<void> all;
  for (int i = 0; i < 1000; i++)
    pool.run([&] {
      if (++count == 1000) all.set_value();
    });
  EXPECT_EQ(all.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
}

// In a process that may have no more threads: a pool says so, or has one and does everything with it.
TEST(WorkerPool, WhereNoThreadsCanBe) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "the tool allows no threads in a forked child";
#endif
  const pid_t child = ::fork();
  if (child == 0) {
    WorkerPool before(8);
    if (!before.ready()) ::_exit(6);
    // EAGAIN of clone(2) for who is not privileged: RLIMIT_NPROC counts all that the user has.
    const rlimit none{0, 0};
    if (::setresuid(65534, 65534, 65534) != 0 || ::setrlimit(RLIMIT_NPROC, &none) != 0) ::_exit(2);
    if (WorkerPool(8).ready()) ::_exit(3);
    std::atomic<int> count{0};
    std::promise<void> all;
    for (int i = 0; i < 100; i++)
      before.run([&] {
        if (++count == 100) all.set_value();
      });
    ::_exit(all.get_future().wait_for(std::chrono::seconds(20)) == std::future_status::ready ? 0 : 5);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "needs root";
  EXPECT_EQ(status, 0) << WEXITSTATUS(status);
}

}  // namespace mrlease::session
