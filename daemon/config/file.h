// SPDX-License-Identifier: Apache-2.0
// mrleased.toml: keys and values with their places. Knows the table, not what the values mean together.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mrlease::config {

struct Place {
  unsigned line = 0, column = 0;  // from 1
  auto operator<=>(const Place&) const = default;
};

struct FileProblem {
  Place place;
  std::string text;
};

struct FileValue {
  std::vector<std::string> texts;
  Place place;  // of the key
};

struct FileRule {  // a [[rule]]
  std::map<std::string, FileValue> values;  // by name of rule_table()
  Place place;
};

struct FileContent {
  std::map<std::string, FileValue> values;  // row name ->; only what is right
  std::vector<FileRule> rules;              // in their order
  std::vector<FileProblem> problems;
};

FileContent parse_file(std::string_view text);

}  // namespace mrlease::config
