// SPDX-License-Identifier: Apache-2.0
// mrleased.toml: what is taken from any text is allowed by the table, reads the same in Options, and, written down again, is
// read the same.
#include <set>
#include <string>
#include <string_view>

#include "daemon/config/file.h"
#include "daemon/config/table.h"
#include "tests/fuzz/fuzz.h"

using namespace mrlease::config;

namespace {

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    char code[8];
    std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned char>(c));
    const bool plain = static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\' && c != 0x7f;
    out += plain ? std::string(1, c) : code;
  }
  return out + "\"";
}

std::string written(const Row& row, const std::vector<std::string>& texts) {
  if (row.type == Type::Number || row.type == Type::Flag) return texts.front();
  if (row.type != Type::List) return quoted(texts.front());
  std::string out = "[";
  for (const std::string& text : texts) out += quoted(text) + ",";
  return out + "]";
}

}  // namespace

FUZZ(data, size) {
  const FileContent content = parse_file({reinterpret_cast<const char*>(data), size});
  for (const FileProblem& p : content.problems) must(!p.text.empty(), "a problem without words");
  for (const FileRule& written : content.rules) {
    mrlease::session::Rule rule;
    for (const RuleRow& row : rule_table()) {
      const auto value = written.values.find(row.name);
      if (value == written.values.end()) continue;
      for (const std::string& text : value->second.texts) must(wrong(row, text).empty(), "a value of a rule that is not allowed");
      row.set(rule, value->second.texts);
      must(row.get(rule) == value->second.texts, "set and got is not the same in a rule");
    }
  }
  Options options;
  std::string again;
  for (const auto& [key, value] : content.values) {
    const Row* row = find_row(key);
    must(row != nullptr && !row->hidden, "a key that there is not");
    must(row->type == Type::List || value.texts.size() == 1, "not one value");
    must(value.place.line > 0, "a value without a place");
    for (const std::string& text : value.texts) must(wrong(*row, text).empty(), "a value that is not allowed");
    row->set(options, value.texts);
    if (kPlanted && row->type == Type::Number) row->set(options, {std::to_string(row->min)});
    must(row->get(options) == value.texts, "set and got is not the same");
    again += key + " = " + written(*row, value.texts) + "\n";
  }
  const FileContent same = parse_file(again);
  must(same.problems.empty(), "what was taken is refused when it is written down");
  for (const auto& [key, value] : content.values) must(same.values.at(key).texts == value.texts, "read again it is not the same");
  return 0;
}
