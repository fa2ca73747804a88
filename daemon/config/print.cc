// SPDX-License-Identifier: Apache-2.0
#include "daemon/config/print.h"

#include <sstream>

#include "daemon/config/table.h"

namespace mrlease::config {
namespace {

std::string default_of(const Row& row) {
  const auto values = row.get(Options{});
  return values.empty() || values.front().empty() ? "none" : values.front();
}

// '-' would be a hyphen, which cannot be copied into a shell.
std::string roff(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '-' ? std::string("\\-") : c == '\\' ? std::string("\\\\") : std::string(1, c);
  return result;
}

std::string man_value(const Row& row) {
  std::string words;
  for (const auto& w : row.words) words += (words.empty() ? "" : "|") + w;
  if (row.type == Type::Word) return " " + words;
  if (row.type == Type::Number) return " N";
  return row.type == Type::Flag ? "" : " " + row.unit;
}

std::string toml_value(const Row& row) {
  const auto values = row.get(Options{});
  if (row.type == Type::Number || row.type == Type::Flag) return values.front();
  if (row.type != Type::List) return "\"" + values.front() + "\"";
  std::string list;
  for (const auto& v : values) list += (list.empty() ? "\"" : ", \"") + v + "\"";
  return "[" + list + "]";
}

constexpr const char* kRules =
    "Of the rules, the first whose path and user both fit decides on a lease; what it does not say is as above. A rule is looked up when a "
    "lease is asked for, and again at a reload: a lease that it would not allow any more lasts until it ends.";

// Of what its help does not say.
std::string bounds(const RuleRow& row) {
  return row.type == Type::Number || row.type == Type::Word ? "Allowed: " + allowed(row) + "." : "";
}

std::string rule_example(const RuleRow& row) {
  if (row.type == Type::Number) {
    const Row* const option = find_row(row.name);
    return option != nullptr ? default_of(*option) : std::to_string(row.example);
  }
  if (row.type == Type::List) return "[\"postgres\"]";
  return row.type == Type::Word ? "\"" + row.words.front() + "\"" : "\"/srv/db/*\"";
}

// A comment, folded at 100 columns.
void comment(std::ostream& out, const std::string& text) {
  std::istringstream words(text);
  std::string line = "#", word;
  while (words >> word) {
    if (line.size() + 1 + word.size() > 100) {
      out << line << "\n";
      line = "#";
    }
    line += " " + word;
  }
  out << line << "\n";
}

}  // namespace

std::string man_options() {
  std::ostringstream out;
  std::string group;
  for (const Row& row : table()) {
    if (row.hidden) continue;
    if (row.group != group) out << ".SS " << row.group << "\n";
    group = row.group;
    out << ".TP\n.B " << roff("--" + row.name + man_value(row)) << "\n" << roff(row.help) << "\n";
    if (row.type == Type::Number) out << "Allowed: " << roff(allowed(row)) << ".\n";
    if (row.type != Type::Flag) out << "Default: " << roff(default_of(row)) << ".\n";
    if (row.reloadable) out << "A reload takes it over.\n";
  }
  out << ".SS Rules\nIn the file only, as sections\n.BR [[rule]] .\n" << roff(kRules) << "\n";
  for (const RuleRow& row : rule_table()) {
    out << ".TP\n.B " << roff(row.name) << "\n" << roff(row.help) << "\n";
    if (const std::string allowed = bounds(row); !allowed.empty()) out << roff(allowed) << "\n";
  }
  return out.str();
}

std::string example_file() {
  std::ostringstream out;
  out << "# mrleased.toml: the configuration of mrleased(8). What stands here as a comment is the default.\n"
         "# After a change: mrleased --check-config, then mrleasectl reload (or systemctl reload mrleased).\n";
  std::string group;
  for (const Row& row : table()) {
    if (row.hidden) continue;
    out << "\n";
    if (row.group != group) out << "## " << row.group << "\n\n";
    group = row.group;
    comment(out, row.help);
    comment(out, "Allowed: " + allowed(row) + "." + (row.reloadable ? "" : " A change needs a restart."));
    out << "#" << row.name << " = " << toml_value(row) << "\n";
  }
  out << "\n## Rules\n\n";
  comment(out, kRules);
  out << "#[[rule]]\n";
  for (const RuleRow& row : rule_table()) {
    comment(out, row.help + " " + bounds(row));
    out << "#" << row.name << " = " << rule_example(row) << "\n";
  }
  return out.str();
}

}  // namespace mrlease::config
