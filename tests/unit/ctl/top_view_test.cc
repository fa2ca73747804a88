// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/top_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/ctl/format.h"

namespace mrlease::ctl {

using ::testing::AnyOf;
using ::testing::HasSubstr;

Snapshot busy(int leases, int breaks) {
  Snapshot s;
  s.stats.set_version("0.1.0");
  s.stats.mutable_uptime()->set_seconds(3720);
  s.stats.set_leases(static_cast<std::uint64_t>(leases));
  s.stats.set_breaks_pending(static_cast<std::uint64_t>(breaks));
  s.clock = "18:00:00";
  auto* f = s.files.add_files();
  for (int i = 1; i <= leases; ++i) {
    auto* l = f->add_leases();
    l->set_id(static_cast<std::uint64_t>(i));
    l->mutable_file()->set_path("/srv/data/" + std::string(90, 'x') + "/file");
    l->set_state(i == leases ? v1::LEASE_STATE_RECALLING : v1::LEASE_STATE_ACTIVE);
    l->set_backing(v1::BACKING_ODP_TRANSPARENT);
    l->mutable_client()->set_pid(123456);
    l->mutable_client()->set_program("a_program_with_a_very_long_name");
  }
  for (int i = 1; i <= breaks; ++i) {
    auto* b = f->add_breaks();
    b->set_id(9000000000000000000ull + static_cast<std::uint64_t>(i));
    b->set_phase(i == breaks ? v1::BREAK_PHASE_WAITING : v1::BREAK_PHASE_PASSING);
    b->set_what("ftruncate by 1234 (cp)");
  }
  return s;
}

TEST(Top, FitsEveryTerminal) {
  const Snapshot s = busy(300, 40);
  for (const Size size : {Size{24, 80}, Size{10, 40}, Size{3, 20}, Size{1, 1}, Size{60, 200}}) {
    const auto lines = top_lines(s, nullptr, size);
    EXPECT_LE(lines.size(), size.rows);
    for (const auto& line : lines) EXPECT_LE(width(line), size.columns) << line;
  }
}

TEST(Top, AtEightyColumnsBothTablesAreThereWithWhatMattersFirst) {
  const auto lines = top_lines(busy(300, 40), nullptr, {24, 80});
  ASSERT_EQ(lines.size(), 24u);
  EXPECT_THAT(lines[0], HasSubstr("up 1 h 2 m"));
  EXPECT_THAT(lines[0], ::testing::EndsWith("18:00:00"));
  std::string text;
  for (const auto& l : lines) text += l + "\n";
  const auto breaks = text.find("BREAK "), leases = text.find("LEASE ");
  ASSERT_NE(breaks, std::string::npos);
  ASSERT_NE(leases, std::string::npos);
  // The one that waits, and the one that is recalled, are the last in the answers.
  EXPECT_THAT(text.substr(text.find('\n', breaks) + 1, 80), HasSubstr("waiting"));
  EXPECT_THAT(text.substr(text.find('\n', leases) + 1, 80), HasSubstr("recalling"));
}

TEST(Top, RatesComeFromTheSnapshotBefore) {
  Snapshot before = busy(1, 0), now = busy(1, 0);
  before.at = 10;
  now.at = 12;
  before.stats.add_breaks()->set_value(100);
  now.stats.add_breaks()->set_value(110);
  auto* old_wait = before.stats.add_foreign_wait();
  old_wait->set_count(1);
  old_wait->set_sum_seconds(1);
  auto* new_wait = now.stats.add_foreign_wait();
  new_wait->set_count(2);
  new_wait->set_sum_seconds(1.5);
  std::string text;
  for (const auto& l : top_lines(now, &before, {24, 120})) text += l + "\n";
  EXPECT_THAT(text, HasSubstr("breaks 110 (+5.0/s)"));
  EXPECT_THAT(text, HasSubstr("foreign waits 2, mean 750 ms, lately 500 ms"));
}

TEST(Top, TroubleIsShown) {
  Snapshot s = busy(1, 0);
  s.trouble = "cannot connect to /run/mrlease/admin.sock";
  std::string text;
  for (const auto& l : top_lines(s, nullptr, {24, 80})) text += l + "\n";
  EXPECT_THAT(text, HasSubstr("cannot connect"));
  EXPECT_THAT(text, HasSubstr("OLD"));
}

}  // namespace mrlease::ctl
