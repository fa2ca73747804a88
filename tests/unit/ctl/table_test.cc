// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/table.h"

#include <gtest/gtest.h>

#include "daemon/ctl/format.h"

namespace mrlease::ctl {

using Align = Column::Align;

Table sample(const std::string& path) {
  Table t({{"ID", Align::Right}, {"FILE", Align::Path}, {"STATE"}});
  t.add({"1", path, "active"});
  t.add({"1000", "/b", "fencing"});
  return t;
}

TEST(Table, ColumnsAreAlignedAndLinesEndWithoutBlanks) {
  EXPECT_EQ(sample("/a").text(80), "  ID  FILE  STATE\n   1  /a    active\n1000  /b    fencing\n");
}

TEST(Table, OnlyThePathGetsShorterWhenTheLineIsTooLong) {
  const std::string path = "/srv/" + std::string(100, 'x') + "/last.bin";
  for (const auto& line : sample(path).lines(40)) EXPECT_LE(width(line), 40u);
  const std::string row = sample(path).lines(40)[1];
  EXPECT_NE(row.find("..."), std::string::npos);
  EXPECT_NE(row.find("last.bin"), std::string::npos);
  EXPECT_NE(row.find("active"), std::string::npos);
  EXPECT_NE(sample(path).lines(0)[1].find(path), std::string::npos);
}

TEST(Table, AnIndentCountsToo) {
  for (const auto& line : sample(std::string(100, 'x')).lines(40, 4)) {
    EXPECT_LE(width(line), 40u);
    EXPECT_EQ(line.substr(0, 4), "    ");
  }
}

TEST(Table, NumbersAreNeverCut) {
  Table t({{"N", Align::Right}, {"FILE", Align::Path}, {"TEXT"}});
  t.add({"18446744073709551615", std::string(50, 'p'), std::string(50, 't')});
  EXPECT_NE(t.lines(30)[1].find("18446744073709551615"), std::string::npos);
}

}  // namespace mrlease::ctl
