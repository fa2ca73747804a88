// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/events.h"

#include <gtest/gtest.h>

namespace mrlease::admin {
namespace {

namespace happening = session::happening;

session::Happening report(core::LeaseId lease) {
  happening::Report about{};
  about.file.path = std::make_shared<const std::string>();
  about.lease = lease;
  about.text = "x";
  return {{}, std::move(about)};
}

core::LeaseId number(const Events::Entry& e) { return std::get<happening::Report>(e.happening->what).lease; }

TEST(Events, AreNumberedFromOneAndTheOldestGo) {
  Office office;
  Events events(office, 3);
  EXPECT_EQ(events.bounds().head, 0u);
  EXPECT_EQ(events.bounds().oldest, 1u);
  EXPECT_TRUE(events.read(0, 10)->empty());
  for (core::LeaseId i = 1; i <= 5; ++i) events.push({report(i)});
  EXPECT_EQ(events.bounds().oldest, 3u);
  EXPECT_EQ(events.bounds().head, 5u);
  const auto kept = events.read(2, 10);
  ASSERT_TRUE(kept);
  ASSERT_EQ(kept->size(), 3u);
  EXPECT_EQ(kept->front().sequence, 3u);
  EXPECT_EQ(number(kept->front()), 3u);
  EXPECT_EQ(number(kept->back()), 5u);
  EXPECT_EQ(events.read(2, 1)->size(), 1u);
  EXPECT_TRUE(events.read(5, 10)->empty());
  EXPECT_FALSE(events.read(1, 10));  // 2 is gone
  EXPECT_FALSE(events.read(6, 10));  // not yet, or of another life
}

TEST(Events, WhatIsOnlyCountedHasNoNumber) {
  Office office;
  Events events(office, 3);
  int seen = 0;
  events.consume([&](const session::Happening&) { ++seen; });
  events.push({{{}, happening::PagesWritten{1, 0}}, report(1)});
  office.stop();
  EXPECT_EQ(seen, 2);
  EXPECT_EQ(events.bounds().head, 1u);
}

TEST(Events, ListenersAreToldWhileTheyLive) {
  struct Listener : Events::Listener {
    void more() override { ++told; }
    int told = 0;
  };
  Office office;
  Events events(office, 3);
  auto first = std::make_shared<Listener>(), second = std::make_shared<Listener>();
  office.post([&] {
    events.listen(first);
    events.listen(second);
  });
  events.push({report(1)});
  office.post([&] { second.reset(); });
  events.push({report(2)});
  office.stop();
  EXPECT_EQ(first->told, 2);
  EXPECT_EQ(events.listeners(), 1u);
}

}  // namespace
}  // namespace mrlease::admin
