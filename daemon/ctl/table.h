// SPDX-License-Identifier: Apache-2.0
// Columns under headings, never wider than the terminal. Pure.
#pragma once

#include <string>
#include <vector>

namespace mrlease::ctl {

struct Column {
  enum class Align { Left, Right, Path };  // Path: left, and shortened in the middle when the line is too long
  std::string heading;
  Align align = Align::Left;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  std::size_t rows() const { return rows_.size(); }
  // Lines without trailing blanks. limit 0: as wide as it needs.
  std::vector<std::string> lines(std::size_t limit, std::size_t indent = 0) const;
  std::string text(std::size_t limit, std::size_t indent = 0) const;

 private:
  std::vector<std::size_t> widths(std::size_t limit) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace mrlease::ctl
