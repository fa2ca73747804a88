// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "daemon/session/session.h"

namespace mrlease::session {
namespace {

using core::Action;

Store store(std::uint64_t id, std::uint64_t begin, bool trim = false) {
  Store s;
  s.id = id;
  s.extent = {begin, begin + 4096};
  s.trim = trim;
  return s;
}

TEST(StoreToEnd, AThawEndsAFreezesStoreAndASettleATrims) {
  std::vector<Store> stores = {store(1, 0), store(2, 0, true), store(3, 8192)};
  EXPECT_EQ(store_to_end(stores, Action::Thaw, 0)->id, 1u);
  EXPECT_EQ(store_to_end(stores, Action::Settle, 0)->id, 2u);
  EXPECT_EQ(store_to_end(stores, Action::Thaw, 8192)->id, 3u);
  EXPECT_EQ(store_to_end(stores, Action::Settle, 8192), nullptr);
  EXPECT_EQ(store_to_end(stores, Action::Reregister, 0), nullptr);
}

// Two freezes that were denied, and a client that complied with both, too late: it was asked twice for the later store.
TEST(StoreToEnd, EachIsEndedOnce) {
  std::vector<Store> stores = {store(1, 0), store(2, 0)};
  store_to_end(stores, Action::Thaw, 0)->ending = true;
  EXPECT_EQ(store_to_end(stores, Action::Thaw, 0)->id, 2u);
}

TEST(StoreToEnd, WhatTheClientUsesGoesFirst) {
  std::vector<Store> stores = {store(1, 0), store(2, 0)};
  stores[1].complied = true;
  EXPECT_EQ(store_to_end(stores, Action::Thaw, 0)->id, 2u);
}

}  // namespace
}  // namespace mrlease::session
