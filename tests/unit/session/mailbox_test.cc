// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/mailbox.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

namespace mrlease::session {
namespace {

TEST(Mailbox, NotesRunInTheLoopInOrder) {
  constexpr int kNotes = 2000;
  asio::io_context loop;
  Mailbox mailbox(loop);
  std::vector<int> seen;
  bool elsewhere = false;
  std::thread poster([&] {
    for (int i = 0; i < kNotes; i++) {
      mailbox.post([&, i, by = std::this_thread::get_id()] {
        seen.push_back(i);
        elsewhere = elsewhere || std::this_thread::get_id() == by;
        if (i + 1 == kNotes) loop.stop();
      });
    }
  });
  loop.run_for(std::chrono::seconds(20));
  poster.join();
  std::vector<int> all(kNotes);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(seen, all);
  EXPECT_FALSE(elsewhere);
}

// However many there are: a client's frame, a timer, a sign of life do not wait for the last.
TEST(Mailbox, OthersHaveTheirTurnInBetween) {
  asio::io_context loop;
  Mailbox mailbox(loop);
  constexpr int kNotes = 2000;
  int seen = 0, seen_by_other = -1;
  for (int i = 0; i < kNotes; i++)
    mailbox.post([&] {
      if (seen++ == 0) asio::post(loop, [&] { seen_by_other = seen; });
      if (seen == kNotes) loop.stop();
    });
  loop.run_for(std::chrono::seconds(20));
  EXPECT_EQ(seen, kNotes);
  EXPECT_GT(seen_by_other, 0);
  EXPECT_LT(seen_by_other, kNotes / 2);
}

TEST(Mailbox, ANoteMayPostAnother) {
  asio::io_context loop;
  Mailbox mailbox(loop);
  bool second = false;
  mailbox.post([&] {
    mailbox.post([&] {
      second = true;
      loop.stop();
    });
  });
  loop.run_for(std::chrono::seconds(20));
  EXPECT_TRUE(second);
}

// The loop is woken once for what is announced, and may still be at what came before.
TEST(Mailbox, WhatIsAnnouncedDuringALongTurnComes) {
  asio::io_context loop;
  Mailbox mailbox(loop);
  constexpr int kNotes = 100;
  int seen = 0;
  bool came = false;
  for (int i = 0; i < kNotes; i++)
    mailbox.post([&] {
      if (seen++ == 0) mailbox.announce();
    });
  while (seen < kNotes) ASSERT_GT(loop.run_one_for(std::chrono::seconds(20)), 0U);
  mailbox.post([&] {
    came = true;
    loop.stop();
  });
  loop.run_for(std::chrono::seconds(20));
  EXPECT_TRUE(came);
}

// Announced or not, kept or not: nothing is lost, and the loop goes to sleep again.
TEST(Mailbox, WhatWasAnnouncedComesOrDoesNot) {
  asio::io_context loop;
  Mailbox mailbox(loop);
  constexpr int kEach = 2000;
  int came = 0;
  const auto writer = [&] {
    for (int i = 0; i < kEach; i++) {
      if (i % 3 != 0) mailbox.announce();
      if (i % 5 != 0) mailbox.post([&] { if (++came == 2 * kEach * 4 / 5) loop.stop(); });
    }
  };
  std::thread one(writer), other(writer);
  loop.run_for(std::chrono::seconds(60));
  one.join();
  other.join();
  EXPECT_EQ(came, 2 * kEach * 4 / 5);
}

}  // namespace
}  // namespace mrlease::session
