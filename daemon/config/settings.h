// SPDX-License-Identifier: Apache-2.0
// The configuration as a whole: default, then file, then command line; validated completely before any of it is used.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "daemon/config/options.h"

namespace mrlease::config {

inline constexpr const char* kDefaultFile = "/etc/mrlease/mrleased.toml";

using Values = std::map<std::string, std::vector<std::string>>;  // row name -> as text

// What was asked for when the daemon started. Kept: a reload reads the file anew, the command line still wins.
struct CommandLine {
  std::string file;        // --config; empty: kDefaultFile, if there is one
  bool check_only = false;  // --check-config
  Values values;
};

// Reads argv. Nothing: the process is to exit with *status (--help and the like, or a mistake, told on stderr).
std::optional<CommandLine> parse_command_line(int argc, const char* const* argv, int* status);

enum class Source { Default, File, CommandLine };
std::string word(Source source);  // default, file, command line

struct Settings {
  Options options;
  std::map<std::string, Source> sources;  // of every row
  std::string file;                       // that was read; empty: none
};

struct Loaded {
  std::optional<Settings> settings;   // only when there is no problem
  std::vector<std::string> problems;  // all of them, one line each: "FILE:LINE:COLUMN: KEY: what is wrong"
};

// May block on the file. must_have: a file that has to be there ("": none).
Loaded load(const CommandLine& line, const std::string& must_have = "");

// The same without any file.
Loaded without_file(const CommandLine& line);

struct Difference {
  std::vector<std::string> changed;        // rows, taken over; "rule": the rules
  std::vector<std::string> needs_restart;  // rows that differ and are not
};
// Takes over what may change while the daemon runs.
Difference take_over(const Settings& fresh, Settings* current);

}  // namespace mrlease::config
