// SPDX-License-Identifier: Apache-2.0
// The command line: every subcommand adds itself, with what it does when it is chosen.
#pragma once

#include <google/protobuf/message.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "daemon/ctl/client.h"

namespace mrlease::ctl {

struct Program {
  CLI::App app{"mrleasectl: look at mrleased's leases, break them, see what this host can do"};
  Target target;
  bool json = false;
  bool wide = false;
  std::vector<std::string> command;    // what stood behind "--"
  bool has_command = false;            // there was a "--"
  std::function<int()> run;            // of the chosen subcommand
  std::map<std::string, std::vector<std::string>> words;  // of options that take one of a few, for completion

  // A subcommand that takes no "--" unless it says so.
  CLI::App* add(const std::string& name, const std::string& help, std::function<int()> run, bool takes_command = false);
  Client connect() const { return Client(target); }
  // Columns of the terminal; 0: --wide. 80 where there is no terminal.
  std::size_t width() const;
  // The answer: as JSON when that was asked for, else as text.
  void print(const google::protobuf::Message& answer, const std::string& text) const;
};

// One JSON document in one line (stream) or many.
std::string to_json(const google::protobuf::Message& message, bool one_line);

void add_lease_commands(Program& p);  // leases, lease, files
void add_watch_command(Program& p);   // watch
void add_break_commands(Program& p);  // sync, freeze, thaw, revoke, drain, undrain
void add_host_commands(Program& p);   // probe, stats, config, reload
void add_disarm_command(Program& p);  // disarm
void add_top_command(Program& p);     // top

// A file of the command line: a path, made absolute, or MAJOR:MINOR:INODE. Throws Failed.
v1::FileId file_id(const std::string& text);
std::string absolute_path(const std::string& text);

// Candidates for the last of these words.
std::vector<std::string> complete(const Program& p, const std::vector<std::string>& words);

}  // namespace mrlease::ctl
