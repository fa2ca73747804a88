// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/worker_pool.h"

#include <gtest/gtest.h>

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

}  // namespace mrlease::session
