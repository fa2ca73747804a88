// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/apart.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>

namespace mrlease::sys {
namespace {

TEST(Apart, WhatWasSeenComesBack) {
  EXPECT_EQ(apart(1, [] { return 5; }), 5);
  EXPECT_EQ(apart(1, [] { return std::string("again"); }), "again");
}

TEST(Apart, ALookThatDoesNotEndIsLeftBehind) {
  std::promise<void> let_back;
  const auto back = let_back.get_future().share();
  const auto ended = std::make_shared<std::promise<void>>();
  auto over = ended->get_future();
  EXPECT_FALSE(apart(2, [back, ended] {
    back.wait();
    ended->set_value();
    return 5;
  }));
  const auto begun = std::make_shared<std::atomic<bool>>(false);
  EXPECT_FALSE(run_apart(2, [begun] { *begun = true; })) << "that task is not looked at again meanwhile";
  EXPECT_EQ(apart(3, [] { return 6; }), 6) << "others are";
  let_back.set_value();
  ASSERT_EQ(over.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  while (!apart(2, [] { return 7; })) std::this_thread::yield();
  EXPECT_FALSE(*begun);
}

TEST(Apart, TwoMayLookAtTheSameAtOnce) {
  std::promise<void> first_in;
  std::promise<void> second_done;
  const auto done = second_done.get_future().share();
  std::thread first([&, done] {
    EXPECT_TRUE(run_apart(4, [&first_in, done] {
      first_in.set_value();
      done.wait();
    }));
  });
  first_in.get_future().wait();
  EXPECT_EQ(apart(4, [] { return 8; }), 8);
  second_done.set_value();
  first.join();
}

}  // namespace
}  // namespace mrlease::sys
