// SPDX-License-Identifier: Apache-2.0
// The table against a plain map: by id, by session, by file, through thousands of leases that come and go.
#include "daemon/core/lease_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace mrlease::core {
namespace {

constexpr SessionId kSessions = 7;
constexpr std::uint64_t kFiles = 5;

Lease drawn(LeaseId id, std::mt19937_64& random) {
  Lease lease;
  lease.id = id;
  lease.session = 1 + random() % kSessions;
  lease.file = {8, 100 + random() % kFiles};
  lease.extent = {id * 4096, (id + 1) * 4096};
  lease.backing = static_cast<Backing>(random() % kBackings);
  lease.write = random() % 2 == 0;
  return lease;
}

std::vector<LeaseId> of_file(LeaseTable& table, const FileKey& file) {
  std::vector<LeaseId> ids;
  table.visit(file, {}, [&](const LeaseEntry& entry) {
    EXPECT_EQ(entry.lease.file, file);
    ids.push_back(entry.lease.id);
    return true;
  });
  return ids;
}

void compare(LeaseTable& table, const std::map<LeaseId, Lease>& oracle) {
  ASSERT_EQ(table.size(), oracle.size());
  for (SessionId session = 1; session <= kSessions; ++session) {
    std::vector<LeaseId> expected;
    for (const auto& [id, lease] : oracle) {
      if (lease.session == session) expected.push_back(id);
    }
    ASSERT_EQ(table.of_session(session), expected);
  }
  for (std::uint64_t inode = 100; inode < 100 + kFiles; ++inode) {
    const FileKey file{8, inode};
    std::vector<LeaseId> expected;
    Census census;
    for (const auto& [id, lease] : oracle) {
      if (lease.file != file) continue;
      expected.push_back(id);
      census.all++;
      census.direct += lease.backing == Backing::Direct;
      census.bounce += lease.backing == Backing::Bounce;
      census.bounce_write += lease.backing == Backing::Bounce && lease.write;
    }
    ASSERT_EQ(of_file(table, file), expected);
    const Census counted = table.census(file);
    EXPECT_EQ(counted.all, census.all);
    EXPECT_EQ(counted.direct, census.direct);
    EXPECT_EQ(counted.bounce, census.bounce);
    EXPECT_EQ(counted.bounce_write, census.bounce_write);
  }
}

TEST(LeaseTable, AgreesWithAPlainMap) {
  std::mt19937_64 random(3);
  LeaseTable table;
  std::map<LeaseId, Lease> oracle;
  for (LeaseId id = 1; id <= 3000; ++id) {
    // Rises to a thousand, falls to none, and rises again.
    const bool grows = id < 1000 || id > 2000;
    const Lease lease = drawn(id, random);
    table.insert(lease);
    oracle[id] = lease;
    for (int i = 0; i < (grows ? 1 : 2) && !oracle.empty() && (!grows || random() % 3 == 0); i++) {
      auto gone = oracle.lower_bound(random() % (id + 1));
      if (gone == oracle.end()) gone = oracle.begin();
      table.erase(gone->first);
      EXPECT_EQ(table.find(gone->first), nullptr);
      oracle.erase(gone);
    }
    if (id % 50 == 0) compare(table, oracle);
  }
  for (const auto& [id, lease] : oracle) {
    ASSERT_NE(table.find(id), nullptr);
    EXPECT_EQ(table.find(id)->lease.extent, lease.extent);
  }
}

TEST(LeaseTable, ARetiredLeaseIsInNobodysWayAndStillItsSessions) {
  LeaseTable table;
  std::mt19937_64 random(1);
  const Lease lease = drawn(1, random);
  table.insert(lease);
  table.retire(*table.find(1));
  table.retire(*table.find(1));
  EXPECT_TRUE(of_file(table, lease.file).empty());
  EXPECT_EQ(table.census(lease.file).all, 0u);
  EXPECT_EQ(table.of_session(lease.session), std::vector<LeaseId>{1});
  table.erase(1);
  EXPECT_EQ(table.size(), 0u);
  EXPECT_TRUE(table.of_session(lease.session).empty());
}

}  // namespace
}  // namespace mrlease::core
