// SPDX-License-Identifier: Apache-2.0
#include "daemon/config/file.h"

#include <toml++/toml.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "daemon/config/table.h"

namespace mrlease::config {
namespace {

Place place_of(const toml::source_region& region) { return {region.begin.line, region.begin.column}; }

const char* kind_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string: return "a string";
    case toml::node_type::integer: return "a number";
    case toml::node_type::floating_point: return "a number with a fraction";
    case toml::node_type::boolean: return "a boolean";
    case toml::node_type::array: return "an array";
    case toml::node_type::table: return "a table";
    default: return "a date or time";
  }
}

// The value as text, when it has the type that the row wants.
std::optional<std::string> text_of(const Row& row, const toml::node& node) {
  if (row.type == Type::Number && node.is_integer()) return std::to_string(node.as_integer()->get());
  if (row.type == Type::Flag && node.is_boolean()) return node.as_boolean()->get() ? "true" : "false";
  const bool wants_text = row.type == Type::Text || row.type == Type::Address || row.type == Type::Word || row.type == Type::List;
  if (wants_text && node.is_string()) return node.as_string()->get();
  return {};
}

std::string wanted(const Row& row) {
  switch (row.type) {
    case Type::Flag: return "true or false, without quotes";
    case Type::Number: return "a whole number, " + allowed(row);
    case Type::List: return "a string, or an array of strings";
    default: return "a string, " + allowed(row);
  }
}

// How many letters differ (Levenshtein).
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t corner = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = corner + (a[i - 1] != b[j - 1]);
      corner = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string unknown(const std::string& key, const toml::node& node) {
  if (node.is_table()) return "[" + key + "]: there are no sections; every key stands at the top of the file";
  std::string nearest;
  std::size_t best = 1 + key.size() / 3;
  for (const Row& row : table()) {
    if (row.hidden || distance(key, row.name) >= best) continue;
    best = distance(key, row.name);
    nearest = row.name;
  }
  return key + ": there is no such key" + (nearest.empty() ? "; mrleased --help lists them" : "; is " + nearest + " meant?");
}

class Reader {
 public:
  FileContent content;

  void take(const std::string& key, const toml::node& node, Place place) {
    const Row* row = find_row(key);
    if (!row || row->hidden) return problem(place, unknown(key, node));
    FileValue value{{}, place};
    const toml::array* array = row->type == Type::List ? node.as_array() : nullptr;
    bool good = true;
    if (array) {
      for (const toml::node& element : *array) good &= take_one(*row, element, &value);
    } else {
      good = take_one(*row, node, &value);
    }
    if (good) content.values[key] = std::move(value);
  }

  void problem(Place place, std::string text) { content.problems.push_back({place, std::move(text)}); }

 private:
  bool take_one(const Row& row, const toml::node& node, FileValue* value) {
    const auto text = text_of(row, node);
    const std::string error = text ? wrong(row, *text) : kind_of(node) + (" is not allowed: " + wanted(row));
    if (!error.empty()) {
      problem(place_of(node.source()), row.name + ": " + error);
      return false;
    }
    value->texts.push_back(*text);
    return true;
  }
};

}  // namespace

FileContent parse_file(std::string_view text) {
  Reader reader;
  try {
    const toml::table root = toml::parse(text);
    for (const auto& [key, node] : root) reader.take(std::string(key.str()), node, place_of(key.source()));
  } catch (const toml::parse_error& e) {
    // Not TOML: nothing behind this place can be trusted.
    reader.problem(place_of(e.source()), "not TOML: " + std::string(e.description()));
  }
  return std::move(reader.content);
}

}  // namespace mrlease::config
