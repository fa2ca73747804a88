// SPDX-License-Identifier: Apache-2.0
// The command line, made from the table. Values are only collected here; load() judges them together with the file's.
#include <CLI/CLI.hpp>
#include <iostream>

#include "daemon/config/print.h"
#include "daemon/config/settings.h"
#include "daemon/config/table.h"

namespace mrlease::config {
namespace {

void add_row(CLI::App& app, const Row& row, Values* values) {
  const std::string name = "--" + row.name;
  const std::string group = row.hidden ? "" : row.group;
  if (row.type == Type::Flag) {
    app.add_flag_callback(name, [&row, values] { (*values)[row.name] = {"true"}; }, row.help)->group(group);
    return;
  }
  std::string help = row.help;
  if (row.type == Type::Number || row.type == Type::Word) help += " Allowed: " + allowed(row) + ".";
  const auto defaults = row.get(Options{});
  CLI::Option* option = nullptr;
  if (row.type == Type::List) {
    option = app.add_option_function<std::vector<std::string>>(
        name, [&row, values](const std::vector<std::string>& given) { (*values)[row.name] = given; }, help);
    option->allow_extra_args(false);
  } else {
    option = app.add_option_function<std::string>(
        name, [&row, values](const std::string& given) { (*values)[row.name] = {given}; }, help);
  }
  option->group(group)
      ->type_name(row.type == Type::Number ? "N" : row.type == Type::Word ? "WORD" : row.unit)
      ->default_str(defaults.empty() ? "" : defaults.front());
}

}  // namespace

std::optional<CommandLine> parse_command_line(int argc, const char* const* argv, int* status) {
  CommandLine line;
  bool man = false, example = false;
  CLI::App app{"mrleased: the host's arbiter of RDMA registrations over files"};
  app.set_version_flag("--version", "mrleased " MRLEASE_VERSION);
  app.add_option("--config", line.file, "Read this file instead of " + std::string(kDefaultFile))->type_name("FILE");
  app.add_flag("--check-config", line.check_only, "Check the command line and the file, tell every mistake, and exit");
  app.add_flag("--example-config", example, "Print a configuration file with every key and its default, and exit");
  app.add_flag("--help-man", man, "Print the options for the man page, and exit")->group("");
  for (const Row& row : table()) add_row(app, row, &line.values);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    *status = app.exit(e) == 0 ? 0 : 2;
    return std::nullopt;
  }
  if (man || example) {
    std::cout << (man ? man_options() : example_file());
    *status = 0;
    return std::nullopt;
  }
  return line;
}

}  // namespace mrlease::config
