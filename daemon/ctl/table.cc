// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/table.h"

#include <algorithm>
#include <numeric>

#include "daemon/ctl/format.h"

namespace mrlease::ctl {
namespace {

constexpr std::size_t kGap = 2;
// A path is made shorter first, down to what still says something; then the texts, the last first; then the path again.
constexpr std::size_t kPathGood = 20;
constexpr std::size_t kPathMin = 10;
constexpr std::size_t kTextMin = 8;

}  // namespace

std::vector<std::size_t> Table::widths(std::size_t limit) const {
  std::vector<std::size_t> result;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t widest = width(columns_[i].heading);
    for (const auto& row : rows_) widest = std::max(widest, width(row[i]));
    result.push_back(widest);
  }
  const std::size_t gaps = kGap * (result.empty() ? 0 : result.size() - 1);
  const std::size_t all = std::accumulate(result.begin(), result.end(), gaps);
  if (limit == 0 || all <= limit) return result;
  std::size_t excess = all - limit;
  // Numbers are never cut.
  const auto shrink = [&](std::size_t i, std::size_t least) {
    const std::size_t can = result[i] > least ? result[i] - least : 0;
    result[i] -= std::min(can, excess);
    excess -= std::min(can, excess);
  };
  const auto shrink_paths = [&](std::size_t least) {
    for (std::size_t i = 0; i < columns_.size(); ++i)
      if (columns_[i].align == Column::Align::Path) shrink(i, least);
  };
  shrink_paths(kPathGood);
  for (std::size_t i = columns_.size(); i-- > 0 && excess > 0;)
    if (columns_[i].align == Column::Align::Left) shrink(i, std::max(kTextMin, width(columns_[i].heading)));
  shrink_paths(kPathMin);
  return result;
}

std::vector<std::string> Table::lines(std::size_t limit, std::size_t indent) const {
  const auto fits = widths(limit > indent ? limit - indent : limit);
  std::vector<std::string> heading, result;
  for (const auto& c : columns_) heading.push_back(c.heading);
  const auto add_line = [&](const std::vector<std::string>& row) {
    std::string line(indent, ' ');
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string cell = columns_[i].align == Column::Align::Path ? shortened(row[i], fits[i]) : cut(row[i], fits[i]);
      const std::string blanks(fits[i] - width(cell), ' ');
      if (i > 0) line += std::string(kGap, ' ');
      line += columns_[i].align == Column::Align::Right ? blanks + cell : cell + blanks;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    result.push_back(std::move(line));
  };
  add_line(heading);
  for (const auto& row : rows_) add_line(row);
  return result;
}

std::string Table::text(std::size_t limit, std::size_t indent) const {
  std::string text;
  for (const auto& line : lines(limit, indent)) text += line + "\n";
  return text;
}

}  // namespace mrlease::ctl
