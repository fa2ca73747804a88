// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/last_syncs.h"

#include <gtest/gtest.h>

#include <vector>

namespace mrlease::session {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr core::FileKey kOne{1, 2}, kOther{1, 3};
constexpr milliseconds kLong{1000000};

// Its syncs end when the test says so.
class LastSyncsTest : public testing::Test {
 protected:
  void end(std::size_t which) {
    std::exchange(running.at(which), {})();
    loop.restart();
    loop.poll();
  }
  std::size_t begun() const { return running.size(); }

  asio::io_context loop;
  std::vector<core::FileKey> files;
  std::vector<std::function<void()>> running;
  LastSyncs syncs{loop, [this](const core::FileKey& key, LastSyncs::File, std::function<void()> done) {
    files.push_back(key);
    running.push_back(std::move(done));
  }};
};

TEST_F(LastSyncsTest, TheFirstIsBegunAtOnce) {
  syncs.ask(kOne, {}, kLong);
  syncs.ask(kOther, {}, kLong);
  EXPECT_EQ(files, (std::vector{kOne, kOther}));
}

TEST_F(LastSyncsTest, WhatIsAskedForMeanwhileIsOneMore) {
  syncs.ask(kOne, {}, milliseconds(0));
  syncs.ask(kOne, {}, milliseconds(0));
  syncs.ask(kOne, {}, milliseconds(0));
  EXPECT_EQ(begun(), 1u);
  end(0);
  EXPECT_EQ(begun(), 2u);
  end(1);
  EXPECT_EQ(begun(), 2u);
}

TEST_F(LastSyncsTest, TheNextWaitsForItsTime) {
  constexpr milliseconds kInterval{100};
  const auto before = Clock::now();
  syncs.ask(kOne, {}, kInterval);
  end(0);
  syncs.ask(kOne, {}, kInterval);
  EXPECT_EQ(begun(), 1u);
  loop.restart();
  while (begun() < 2 && loop.run_one() != 0) continue;
  EXPECT_EQ(begun(), 2u);
  EXPECT_GE(Clock::now() - before, kInterval);
}

TEST_F(LastSyncsTest, WhereTheFileIsToBeFreeNothingWaits) {
  syncs.ask(kOne, {}, kLong);
  end(0);
  syncs.ask(kOne, {}, kLong);
  EXPECT_EQ(begun(), 1u);
  syncs.ask(kOne, {}, milliseconds(0));
  EXPECT_EQ(begun(), 2u);
}

TEST_F(LastSyncsTest, AtTheEndNothingWaits) {
  syncs.ask(kOne, {}, kLong);
  end(0);
  syncs.ask(kOne, {}, kLong);
  syncs.ask(kOther, {}, kLong);
  syncs.hurry();
  EXPECT_EQ(files, (std::vector{kOne, kOther, kOne}));
  end(1);
  end(2);
  syncs.ask(kOne, {}, kLong);
  EXPECT_EQ(begun(), 4u);
  end(3);
  loop.restart();
  EXPECT_EQ(loop.run(), 0u) << "no timer is left";
}

}  // namespace
}  // namespace mrlease::session
