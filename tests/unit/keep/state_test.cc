// SPDX-License-Identifier: Apache-2.0
#include "daemon/keep/state.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <map>

namespace mrlease::keep {
namespace {

class StateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    memory = ::mmap(nullptr, State::bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
  }
  void TearDown() override { ::munmap(memory, State::bytes()); }
  void* memory = nullptr;
};

LeaseRecord lease(std::uint64_t id) {
  LeaseRecord r;
  r.id = id;
  r.end = id * 4096;
  return r;
}

TEST_F(StateTest, ASuccessorFindsWhatWasPut) {
  {
    State first(memory);
    EXPECT_TRUE(first.fresh());
    first.head().next_lease = 9;
    first.leases.put(lease(7));
    const Slot gone = first.leases.put(lease(8));
    first.leases.clear(gone);
    first.leases.put(lease(9));
    const Slot changed = first.leases.put(lease(10));
    first.leases.at(changed).size_told = 123;
    SessionRecord s;
    s.id = 3;
    std::strcpy(s.program, "cp[12]");
    first.sessions.put(s);
  }
  State second(memory);
  EXPECT_FALSE(second.fresh());
  EXPECT_EQ(second.head().starts, 2u);
  EXPECT_EQ(second.head().next_lease, 9u);
  std::map<std::uint64_t, LeaseRecord> found;
  second.leases.each([&](Slot, LeaseRecord& r) { found[r.id] = r; });
  EXPECT_EQ(found.size(), 3u);
  EXPECT_EQ(found[9].end, 9u * 4096);
  EXPECT_EQ(found[10].size_told, 123u);
  EXPECT_EQ(second.sessions.count(), 1u);
  second.sessions.each([](Slot, SessionRecord& r) { EXPECT_STREQ(r.program, "cp[12]"); });
}

TEST_F(StateTest, SlotsAreUsedAgain) {
  State state(memory);
  const Slot a = state.stores.put({.id = 1});
  state.stores.clear(a);
  EXPECT_EQ(state.stores.put({.id = 2}), a);
  state.stores.clear(kNoSlot);  // of what was never kept
  State successor(memory);
  EXPECT_NE(successor.stores.put({.id = 3}), a);
}

TEST_F(StateTest, AFullTableSaysSo) {
  State state(memory);
  Slot last = 0;
  for (std::size_t i = 0; i < FreezeRecord::kMax; i++) last = state.freezes.put({.id = i});
  EXPECT_NE(last, kNoSlot);
  EXPECT_EQ(state.freezes.put({}), kNoSlot);
  state.freezes.clear(last);
  EXPECT_EQ(state.freezes.put({}), last);
}

TEST_F(StateTest, AnotherLayoutIsRefused) {
  { State state(memory); }
  static_cast<State::Head*>(memory)->magic++;
  EXPECT_THROW(State{memory}, std::runtime_error);
}

// A record is whole or not there, whenever its writer is killed.
TEST_F(StateTest, AKillLeavesNoHalfRecord) {
  for (int round = 0; round < 30; round++) {
    volatile auto* starts = &static_cast<State::Head*>(memory)->starts;
    const std::uint64_t before = *starts;
    const pid_t writer = ::fork();
    if (writer == 0) {
      State state(memory);
      for (std::uint64_t i = 1;; i++) {
        MrRecord r;
        r.lease = r.address = r.length = i;
        const Slot slot = state.mrs.put(r);
        if (i % 3 != 0) state.mrs.clear(slot);
        if (i % 3000 == 0) state.mrs.each([&](Slot s, MrRecord&) { state.mrs.clear(s); });
      }
    }
    while (*starts == before) {
    }
    ::usleep(static_cast<useconds_t>(500 + round * 37));  // not to wait for anything: the moment of the kill
    ::kill(writer, SIGKILL);
    ::waitpid(writer, nullptr, 0);
    State state(memory);
    state.mrs.each([](Slot, MrRecord& r) {
      EXPECT_EQ(r.lease, r.address);
      EXPECT_EQ(r.lease, r.length);
      EXPECT_NE(r.lease, 0u);
    });
  }
}

}  // namespace
}  // namespace mrlease::keep
