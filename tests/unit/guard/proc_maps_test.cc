// SPDX-License-Identifier: Apache-2.0
// What a process has mapped, read from the text of /proc.
#include "daemon/sys/proc_maps.h"

#include <gtest/gtest.h>

namespace mrlease::sys {
namespace {

TEST(ProcMapsTest, ALineIsRead) {
  const auto m = parse_maps_line("7f0000000000-7f0000004000 rw-s 00002000 fe:01 131    /data/a b");
  ASSERT_TRUE(m);
  EXPECT_EQ(*m, (MapsLine{0x7f0000000000, 0x7f0000004000, 0x2000, 131, "rw-s", "fe:01"}));
  EXPECT_TRUE(m->readable() && m->writable() && m->shared());
  const auto other = parse_maps_line("1000-2000 ---p 00000000 00:00 0 ");
  ASSERT_TRUE(other);
  EXPECT_FALSE(other->readable() || other->writable() || other->shared());
  for (const char* line : {"", "1000-2000", "1000-2000 rw 0 00:00 0", "x-y rw-p 0 00:00 0"}) EXPECT_FALSE(parse_maps_line(line)) << line;
}

}  // namespace
}  // namespace mrlease::sys
