// SPDX-License-Identifier: Apache-2.0
// What a truncate has cut off is the client's, and the daemon has forgotten it: it comes with the client's Merge.
#include <sys/mman.h>

#include "tests/integration/daemon/fixture.h"

namespace mrlease::test {

constexpr std::uint64_t kCut = 4096;

class OrphansTest : public DaemonTest {
 protected:
  // The file is cut to kCut and has grown again; the store of that, with "O" at 8192 of the file.
  void cut_and_grow(bool extend = true) {
    start();
    lease = client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize).frame.granted().lease();
    auto other = truncate_by_other(kCut);
    Message trim = client->recall();
    ASSERT_EQ(trim.frame.recall().action(), v1::ACTION_TRIM);
    client->comply(trim.frame.recall());
    ASSERT_EQ(other->wait(), 0);
    client->comply(client->recall().frame.recall());
    store = std::move(trim.fds[0]);
    ASSERT_EQ(::pwrite(store.get(), "O", 1, 8192 - kCut), 1);
    auto grows = truncate_by_other(kSize);
    ASSERT_EQ(grows->wait(), 0);
    if (!extend) return;
    wire::Frame f;
    f.mutable_extend()->set_lease(lease);
    ASSERT_TRUE(client->call(std::move(f)).frame.has_extended());
  }
  Message merge(int memory, std::uint64_t begin, std::uint64_t offset, std::uint64_t length) {
    wire::Frame f;
    f.mutable_merge()->set_lease(lease);
    f.mutable_merge()->set_orphans(true);
    f.mutable_merge()->set_begin(begin);
    auto* range = f.mutable_merge()->add_ranges();
    range->set_offset(offset);
    range->set_length(length);
    return client->call(std::move(f), {memory});
  }
  std::uint64_t lease = 0;
  wire::Fd store;
};

TEST_F(OrphansTest, AreMergedFromTheClientsHands) {
  cut_and_grow();
  EXPECT_EQ(status(merge(store.get(), kCut, 8192, 4096)).code(), 0);
  EXPECT_EQ(byte_at(8192), 'O');
  EXPECT_EQ(size(), kSize);
}

TEST_F(OrphansTest, NotBeforeTheClientHasItsRangeBack) {
  cut_and_grow(false);
  EXPECT_EQ(status(merge(store.get(), kCut, 8192, 4096)).code(), ERANGE);
  EXPECT_EQ(byte_at(8192), 0);
}

TEST_F(OrphansTest, NotWhatIsFrozen) {
  cut_and_grow();
  WireClient tool(daemon->socket());
  wire::Frame f;
  f.mutable_freeze_file()->mutable_range();
  f.mutable_freeze_file()->set_hold_ms(10000);
  tool.send(std::move(f), {fd.get()});
  client->comply(client->recall().frame.recall());
  const auto frozen = tool.next();
  ASSERT_TRUE(frozen && frozen->frame.has_frozen());
  EXPECT_EQ(status(merge(store.get(), kCut, 8192, 4096)).code(), EBUSY);
  EXPECT_EQ(byte_at(8192), 0) << "it stands still";
  // Nor is anything extended over it, though the daemon has said so once: what the client took back of it, it alone knows.
  wire::Frame again;
  again.mutable_extend()->set_lease(lease);
  client->send(std::move(again));
  wire::Frame thaw;
  thaw.mutable_thaw_file()->set_freeze(frozen->frame.frozen().freeze());
  tool.send(std::move(thaw));
  const auto next = client->next();
  ASSERT_TRUE(next && next->frame.has_recall()) << "the thaw comes first";
  client->comply(next->frame.recall());
  const auto extended = client->next();
  ASSERT_TRUE(extended && extended->frame.has_extended());
}

// Nothing that could block the daemon, or shrink while it reads.
TEST_F(OrphansTest, OnlyFromPagesOfTheDaemonsKind) {
  cut_and_grow();
  const wire::Fd unsealed(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), kSize), 0);
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const wire::Fd from(pipe[0]), to(pipe[1]);
  for (const int memory : {unsealed.get(), from.get(), fd.get()}) EXPECT_EQ(status(merge(memory, kCut, 8192, 4096)).code(), EINVAL);
  EXPECT_EQ(byte_at(8192), 0);
}

TEST_F(OrphansTest, NothingBeyondThemOrTheLease) {
  cut_and_grow();
  struct { std::uint64_t begin, offset, length; } const wrong[] = {
      {kCut, kSize, 4096},           // beyond the pages
      {kCut, 0, 4096},               // before them
      {kCut, 8192, ~0ull - 8191},    // beyond 2^64
      {kCut, 8192, 0},
      {kSize, kSize, 4096},          // beyond the lease
      {~0ull - 4095, 8192, 4096},
  };
  for (const auto& w : wrong) EXPECT_EQ(status(merge(store.get(), w.begin, w.offset, w.length)).code(), ERANGE) << w.begin << " " << w.offset;
}

TEST_F(OrphansTest, EachPageOnce) {
  cut_and_grow();
  wire::Frame f;
  f.mutable_merge()->set_lease(lease);
  f.mutable_merge()->set_orphans(true);
  f.mutable_merge()->set_begin(kCut);
  for (int i = 0; i < 2; i++) {
    auto* range = f.mutable_merge()->add_ranges();
    range->set_offset(8192);
    range->set_length(4096);
  }
  EXPECT_EQ(status(client->call(std::move(f), {store.get()})).code(), EINVAL);
  EXPECT_EQ(byte_at(8192), 0);
}

// Without them it is no such frame: whoever sends it has its session ended.
TEST_F(OrphansTest, DoNotComeWithoutADescriptor) {
  cut_and_grow();
  wire::Frame f;
  f.mutable_merge()->set_lease(lease);
  f.mutable_merge()->set_orphans(true);
  EXPECT_THROW(client->call(std::move(f)), std::runtime_error);
}

}  // namespace mrlease::test
