// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/format.h"

#include <gtest/gtest.h>

namespace mrlease::ctl {

TEST(Format, WhatATerminalWouldObeyIsShown) {
  EXPECT_EQ(printable("/a b/c"), "/a b/c");
  EXPECT_EQ(printable("\x1b[2J\n\x7f"), "\\x1b[2J\\x0a\\x7f");
  EXPECT_EQ(printable("größe 日本 𝄞"), "größe 日本 𝄞");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");              // CSI as a C1 control
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");              // not UTF-8
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");              // overlong
  EXPECT_EQ(printable("\xe0\x80\xaf"), "\\xe0\\x80\\xaf");     // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");     // half a surrogate pair
  EXPECT_EQ(printable("\xe2\x80\xae"), "\\xe2\\x80\\xae");     // right-to-left override
}

TEST(Format, PathsAreShortenedInTheMiddleAtWholeLetters) {
  EXPECT_EQ(shortened("/short", 10), "/short");
  EXPECT_EQ(shortened("/srv/data/checkpoints/step-000100.bin", 20), "/srv/...p-000100.bin");
  EXPECT_EQ(shortened("abcdef", 3), "...");
  EXPECT_EQ(shortened("abcdef", 0), "");
  const std::string wide = shortened("äöüäöüäöüäöü", 9);
  EXPECT_EQ(width(wide), 9u);
  EXPECT_EQ(wide, "äö...üäöü");
  EXPECT_EQ(printable(wide), wide);
  for (std::size_t columns = 0; columns < 50; ++columns) EXPECT_LE(width(shortened("/srv/däta/checkpöints/file.bin", columns)), columns);
}

TEST(Format, DurationsHaveTheUnitThatFits) {
  const std::pair<double, const char*> cases[] = {
      {0, "0 s"}, {-1, "0 s"}, {0.0000005, "0.5 us"}, {0.00025, "250 us"}, {0.012, "12 ms"}, {0.0015, "1.5 ms"}, {0.9994, "999 ms"},
      {1, "1 s"}, {1.5, "1.5 s"}, {59.4, "59 s"}, {60, "1 m"}, {125, "2 m 5 s"}, {3599.9, "1 h"}, {7320, "2 h 2 m"},
      {86400, "1 d"}, {90000, "1 d 1 h"}};
  for (const auto& [s, text] : cases) EXPECT_EQ(duration(s), text) << s;
}

TEST(Format, BytesAreExactWhereTheyAreFew) {
  const std::pair<std::uint64_t, const char*> cases[] = {
      {0, "0"}, {4095, "4095"}, {9999, "9999"}, {4096, "4K"}, {65536, "64K"}, {1536 * 1024, "1.5M"}, {10000, "9.8K"},
      {1ull << 30, "1G"}, {1ull << 60, "1E"}, {UINT64_MAX, "16E"}, {1048575, "1M"}};
  for (const auto& [n, text] : cases) EXPECT_EQ(bytes(n), text) << n;
}

TEST(Format, DurationsAndSizesAreRead) {
  EXPECT_EQ(parse_duration_ms("500ms"), 500u);
  EXPECT_EQ(parse_duration_ms("30s"), 30000u);
  EXPECT_EQ(parse_duration_ms("30"), 30000u);
  EXPECT_EQ(parse_duration_ms("2m"), 120000u);
  EXPECT_EQ(parse_duration_ms("1h"), 3600000u);
  for (const char* bad : {"", "s", "1.5s", "-1s", "5 s", "5d", "99999999999999999999s", "18446744073709551615h"})
    EXPECT_FALSE(parse_duration_ms(bad)) << bad;
  EXPECT_EQ(parse_bytes("4096"), 4096u);
  EXPECT_EQ(parse_bytes("64K"), 65536u);
  EXPECT_EQ(parse_bytes("64k"), 65536u);
  EXPECT_EQ(parse_bytes("1GiB"), 1u << 30);
  for (const char* bad : {"", "K", "-1", "1X", "1KB", "99999999999T"}) EXPECT_FALSE(parse_bytes(bad)) << bad;
}

TEST(Format, ARangeIsAnOffsetAndALength) {
  EXPECT_EQ(parse_range("4096:64K")->offset(), 4096u);
  EXPECT_EQ(parse_range("4096:64K")->length(), 65536u);
  EXPECT_EQ(parse_range("1M")->length(), 0u);  // to the end
  for (const char* bad : {"", ":", "1:", ":1", "1:0", "1:2:3", "a"}) EXPECT_FALSE(parse_range(bad)) << bad;
}

TEST(Format, EnumsAreOneWordBothWays) {
  EXPECT_EQ(word(v1::BACKING_ODP_TRANSPARENT), "odp_transparent");
  EXPECT_EQ(word(v1::LEASE_STATE_UNSPECIFIED), "-");
  EXPECT_EQ(word(static_cast<v1::Backing>(77)), "77");
  const auto& type = *v1::Backing_descriptor();
  EXPECT_EQ(value_of(type, "bounce"), v1::BACKING_BOUNCE);
  EXPECT_FALSE(value_of(type, "unspecified"));
  EXPECT_FALSE(value_of(type, ""));
  EXPECT_EQ(words_of(type), "one of direct, odp_transparent, odp_cooperative, bounce");
}

}  // namespace mrlease::ctl
