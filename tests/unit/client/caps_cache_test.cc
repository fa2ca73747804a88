// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/probe/caps_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

namespace mrlease::client {
namespace {

DeviceCaps caps(int odp, bool tried = true) {
  DeviceCaps c;
  c.odp = odp;
  c.tried = tried;
  return c;
}

TEST(CapsCacheTest, ADeviceIsProbedOnce) {
  CapsCache cache;
  int probes = 0;
  const auto probe = [&] { return caps(++probes); };
  EXPECT_EQ(cache.get("a/1", probe).odp, 1);
  EXPECT_EQ(cache.get("a/1", probe).odp, 1);
  EXPECT_EQ(cache.get("a/2", probe).odp, 2) << "of the same name, with another GUID";
  EXPECT_EQ(cache.get("a/1", probe).odp, 1);
  EXPECT_EQ(probes, 2);
}

TEST(CapsCacheTest, WhatCouldNotBeTriedIsTriedAgain) {
  CapsCache cache;
  EXPECT_EQ(cache.get("a/1", [] { return caps(0, false); }).odp, 0);
  EXPECT_EQ(cache.get("a/1", [] { return caps(2); }).odp, 2);
  EXPECT_EQ(cache.get("a/1", [] { return caps(0, false); }).odp, 2) << "kept from now on";
}

TEST(CapsCacheTest, AProbeThatThrowsLeavesNothing) {
  CapsCache cache;
  EXPECT_THROW(cache.get("a/1", []() -> DeviceCaps { throw std::runtime_error("no memory"); }), std::runtime_error);
  EXPECT_EQ(cache.get("a/1", [] { return caps(1); }).odp, 1);
}

TEST(CapsCacheTest, ManyThreadsAskOnce) {
  CapsCache cache;
  std::atomic<int> probes{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; i++) threads.emplace_back([&] {
    for (int k = 0; k < 1000; k++) EXPECT_EQ(cache.get("a/1", [&] { return probes++, caps(1); }).odp, 1);
  });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(probes, 1);
}

}  // namespace
}  // namespace mrlease::client
