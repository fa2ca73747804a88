// SPDX-License-Identifier: Apache-2.0
// The one list of the daemon's options. The command line, the keys of mrleased.toml, --help, --check-config, the example
// configuration, the man page and GetConfig are all made from it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "daemon/config/options.h"

namespace mrlease::config {

enum class Type {
  Flag,    // true, false
  Number,  // whole, with a range
  Text,
  Address,  // HOST:PORT, [IPV6]:PORT
  Word,    // one of a few
  List     // texts; repeatable on the command line
};

struct Key {
  std::string name;     // in the file; on the command line with "--" before it
  std::string group;    // heading in --help and in the man page
  Type type = Type::Text;
  std::uint64_t min = 0, max = 0;    // Number
  std::string unit;                  // of a Number, or what a Text stands for: "ms", "PATH"
  std::vector<std::string> words;    // Word
  std::string help;                  // one sentence
  bool optional = false;             // a Text that may be empty: off
  bool reloadable = false;           // SIGHUP takes it over; else a restart does
  std::uint64_t example = 0;         // Number, of a rule, that no option has
  bool hidden = false;               // for tests: on the command line only, not told of
};

template <typename Target>
struct BasicRow : Key {
  // A value as text; a List has any number, what is not set (in a rule) none, everything else one.
  std::function<std::vector<std::string>(const Target&)> get;
  std::function<void(Target&, const std::vector<std::string>&)> set;  // after wrong() found nothing
};
using Row = BasicRow<Options>;
using RuleRow = BasicRow<session::Rule>;

const std::vector<Row>& table();
// The keys of a [[rule]]; in the file only.
const std::vector<RuleRow>& rule_table();
const Row* find_row(const std::string& name);
// "10 to 600000 ms", "one of fence, deny, kill"
std::string allowed(const Key& row);
// Empty: `text` is a value of this row; else what is wrong: "'5' is not allowed: 10 to 600000 ms".
std::string wrong(const Key& row, const std::string& text);

// What no single row can say.
struct Clash {
  std::string name;  // of the row that is to be changed
  std::string text;
};
std::vector<Clash> clashes(const Options& options);
// Deadlines must nest, or the wrong timer fires first.
std::vector<Clash> tls_clashes(const admin::Options& admin);
std::vector<Clash> nesting_clashes(const core::Terms& terms, core::Time work_deadline, core::Time lease_break_time_ms);
core::Time kernel_lease_break_time_ms();

}  // namespace mrlease::config
