// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/apart.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>

#include "daemon/sys/debt.h"

namespace mrlease::sys {
namespace {

// For what ends.
constexpr std::chrono::seconds kLong{10};

TEST(Apart, WhatWasSeenComesBack) {
  EXPECT_EQ(apart(1, [] { return 5; }, kLong), 5);
  EXPECT_EQ(apart(1, [] { return std::string("again"); }, kLong), "again");
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
  EXPECT_EQ(apart(3, [] { return 6; }, kLong), 6) << "others are";
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
    }, kLong));
  });
  first_in.get_future().wait();
  EXPECT_EQ(apart(4, [] { return 8; }, kLong), 8);
  second_done.set_value();
  first.join();
}

TEST(Debt, IsPaidOffByTime) {
  using std::chrono::milliseconds;
  Debt debt(milliseconds(100), milliseconds(10));
  Debt::Clock::time_point now{std::chrono::hours(1)};
  for (int i = 0; i < 1000; ++i) debt.waited(milliseconds(10));
  EXPECT_TRUE(debt.allows(now)) << "that is work";
  for (int i = 0; i < 5; ++i) debt.waited(milliseconds(20));
  EXPECT_TRUE(debt.allows(now));
  debt.waited(milliseconds(300));
  EXPECT_FALSE(debt.allows(now));
  EXPECT_FALSE(debt.allows(now += milliseconds(800)));
  EXPECT_TRUE(debt.allows(now += milliseconds(101)));
}

}  // namespace
}  // namespace mrlease::sys
