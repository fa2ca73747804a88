// SPDX-License-Identifier: Apache-2.0
// mrleasectl: the administrator's command.
#include <grpc/support/log.h>

#include <csignal>
#include <iostream>

#include "daemon/ctl/format.h"
#include "daemon/ctl/program.h"

namespace {

using namespace mrlease::ctl;

constexpr const char* kFooter =
    "Exit status: 0 done; 1 the daemon refused; 2 wrong usage; 3 no daemon; 4 not in time.\n"
    "freeze FILE -- COMMAND: the command's own, or 4 when it succeeded but the freeze had ended before.";

void add_common(Program& p, std::string* timeout) {
  p.app.set_version_flag("--version", "mrleasectl " MRLEASE_VERSION);
  p.app.footer(kFooter);
  p.app.add_option("--address", p.target.address, "The daemon: a Unix socket's path, or host:port")->type_name("ADDRESS")->capture_default_str();
  p.app.add_option("--ca", p.target.ca, "For host:port: whom to trust (PEM)")->type_name("FILE");
  p.app.add_option("--certificate", p.target.certificate, "For host:port: who we are (PEM)")->type_name("FILE");
  p.app.add_option("--key", p.target.key, "For host:port: its key (PEM)")->type_name("FILE");
  p.app.add_option("--timeout", *timeout, "How long a call may take, as 500ms, 30s, 2m")->type_name("TIME");
  p.app.add_flag("--json", p.json, "For programs: one JSON document; of streams: one object a line");
  p.app.add_flag("--wide", p.wide, "Never shorten anything to fit the terminal");
}

// What stands behind the first "--" is the command's, whatever it looks like.
std::vector<const char*> split(int argc, char** argv, Program* p) {
  std::vector<const char*> words;
  for (int i = 0; i < argc; ++i) {
    if (p->has_command) p->command.push_back(argv[i]);
    else if (std::string(argv[i]) == "--") p->has_command = true;
    else words.push_back(argv[i]);
  }
  return words;
}

int chosen(Program& p, const std::string& timeout) {
  if (!timeout.empty()) {
    const auto ms = parse_duration_ms(timeout);
    if (!ms || *ms == 0 || *ms > 1000ull * 86400 * 365) throw Failed{kUsage, "--timeout: '" + timeout + "' is not allowed: a duration, as 500ms, 30s, 2m"};
    p.target.timeout = std::chrono::milliseconds(*ms);
  }
  return p.run();
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  gpr_set_log_function([](gpr_log_func_args*) {});  // it logs on stderr what we say ourselves
  Program p;
  std::string timeout;
  add_common(p, &timeout);
  add_lease_commands(p);
  add_watch_command(p);
  add_break_commands(p);
  add_host_commands(p);
  add_top_command(p);
  add_disarm_command(p);
  p.app.require_subcommand(1);
  if (argc > 1 && std::string(argv[1]) == "__complete") {
    for (const auto& word : complete(p, {argv + 2, argv + argc})) std::cout << word << "\n";
    return kDone;
  }
  const auto words = split(argc, argv, &p);
  try {
    p.app.parse(static_cast<int>(words.size()), words.data());
  } catch (const CLI::ParseError& e) {
    return p.app.exit(e) == 0 ? kDone : kUsage;
  }
  try {
    return chosen(p, timeout);
  } catch (const Failed& e) {
    std::cerr << "mrleasectl: " << printable(e.text) << "\n";
    return e.status;
  }
}
