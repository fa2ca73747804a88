// SPDX-License-Identifier: Apache-2.0
#include "daemon/loop/options.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>

namespace mrlease::loop {

namespace {

core::Time kernel_lease_break_time_ms() {
  // fs.lease-break-time, Documentation/admin-guide/sysctl/fs.rst: seconds.
  std::ifstream in("/proc/sys/fs/lease-break-time");
  core::Time seconds = 45;
  in >> seconds;
  return seconds * 1000;
}

// An option that is one of a few words; the first is the default.
template <typename T>
void add_word(CLI::App& app, const std::string& name, const std::string& help, T* value,
              const std::vector<std::pair<std::string, T>>& words) {
  std::set<std::string> allowed;
  for (const auto& [word, meaning] : words) allowed.insert(word);
  app.add_option_function<std::string>(
         name,
         [value, words](const std::string& given) {
           for (const auto& [word, meaning] : words)
             if (word == given) *value = meaning;
         },
         help)
      ->check(CLI::IsMember(allowed))
      ->default_str(words.front().first);
}

void add_policy(CLI::App& app, core::Policy& p) {
  app.add_option("--recall-deadline-ms", p.recall_deadline, "A client's time to comply with a recall")
      ->check(CLI::Range(10, 600000))->capture_default_str();
  app.add_option("--fence-deadline-ms", p.fence_deadline, "The fence's time; a client that is not fenced by then is killed")
      ->check(CLI::Range(10, 600000))->capture_default_str();
  app.add_option("--passing-bound-ms", p.passing_bound, "An allowed operation that runs longer is reported")
      ->check(CLI::Range(10, 600000))->capture_default_str();
  app.add_option("--work-deadline-ms", p.work_deadline, "The daemon's own file work; overrun is reported, breaks go on")
      ->check(CLI::Range(10, 600000))->capture_default_str();
  app.add_option("--freeze-hold-max-ms", p.freeze_hold_max, "The longest hold of a freeze")
      ->check(CLI::Range(10, 3600000))->capture_default_str();
  add_word(app, "--on-timeout", "A client that does not comply: fence it, deny the operation, or kill it (fence, deny, kill)", &p.on_timeout,
           {{"fence", core::OnTimeout::Fence}, {"deny", core::OnTimeout::Deny}, {"kill", core::OnTimeout::Kill}});
  add_word(app, "--freeze-conflict", "A foreign operation on a frozen range: wait, thaw, or allow", &p.freeze_conflict,
           {{"wait", core::FreezeConflict::Wait}, {"thaw", core::FreezeConflict::Thaw}, {"allow", core::FreezeConflict::Allow}});
}

void add_admin(CLI::App& app, admin::Options& a) {
  app.add_option("--admin-socket", a.socket,
                 "The Unix socket for administrators, root only; none: none. Beside --socket, where that is given")->capture_default_str();
  app.add_option("--admin-listen", a.listen, "HOST:PORT for administrators, mutual TLS");
  app.add_option("--admin-tls-cert", a.tls_cert, "The daemon's certificate (PEM), for --admin-listen");
  app.add_option("--admin-tls-key", a.tls_key, "Its private key (PEM)");
  app.add_option("--admin-tls-client-ca", a.tls_client_ca, "Whose certificates administrators have (PEM)");
  app.add_option("--admin-events-max", a.events_max, "Events that are kept for who watches")
      ->check(CLI::Range(1, 10000000))->capture_default_str();
  app.add_option("--metrics-listen", a.metrics_listen, "HOST:PORT for Prometheus; off by default");
}

// CLI11 does not tell where a value came from: what stands on the command line is looked for there.
std::vector<admin::OptionFacts> list(const CLI::App& app, const std::vector<std::string>& words) {
  static const std::set<std::string> kNotTold = {"help", "version", "config", "check-config", "break-something"};
  std::vector<admin::OptionFacts> listed;
  for (const CLI::Option* option : app.get_options()) {
    admin::OptionFacts facts;
    facts.name = option->get_single_name();
    if (kNotTold.count(facts.name) != 0) continue;
    facts.description = option->get_description();
    if (!option->get_default_str().empty()) facts.defaults = {option->get_default_str()};
    facts.values = option->count() == 0 ? facts.defaults : option->results();
    const std::string flag = "--" + facts.name;
    const bool told = std::any_of(words.begin(), words.end(), [&](const auto& w) { return w == flag || w.rfind(flag + "=", 0) == 0; });
    facts.source = option->count() == 0 ? "default" : told ? "command line" : "file";
    listed.push_back(std::move(facts));
  }
  return listed;
}

}  // namespace

std::string nesting_error(const core::Policy& p, core::Time lease_break_time_ms) {
  const auto ms = [](core::Time t) { return std::to_string(t) + " ms"; };
  if (p.fence_deadline >= p.recall_deadline)
    return "fence-deadline-ms (" + ms(p.fence_deadline) + ") must be shorter than recall-deadline-ms (" + ms(p.recall_deadline) + ")";
  // The kernel lets a lease's breaker through by itself after lease-break-time (the lease guard): we must be done before.
  const core::Time bound = p.recall_deadline + 2 * p.fence_deadline;
  if (bound >= lease_break_time_ms)
    return "recall-deadline-ms + 2 x fence-deadline-ms (" + ms(bound) + ") must stay under the kernel's fs.lease-break-time (" +
           ms(lease_break_time_ms) + "); shorten them or raise the sysctl";
  return {};
}

std::optional<Options> parse(int argc, char** argv, int* status) {
  Options o;
  CLI::App app{"mrleased: the host's arbiter of RDMA registrations over files"};
  app.set_config("--config", "", "Read options from this file (TOML: long-option = value)");
  app.allow_config_extras(false);
  app.set_version_flag("--version", "mrleased 0.1.0");
  app.add_option("--socket", o.socket, "The Unix socket for clients")->capture_default_str();
  app.add_option("--root", o.roots, "Arm this directory's file system from the start (repeatable)");
  app.add_option("--userfaultfd", o.session.userfaultfd,
                 "Who may use userfaultfd for device faults (transparent breaks): always, never, or a group")->capture_default_str();
  app.add_option("--leases-max", o.session.leases_max, "Leases of one user")->check(CLI::Range(1, 1000000))->capture_default_str();
  app.add_option("--sessions-max", o.session.sessions_max, "Connections of one user")->check(CLI::Range(1, 100000))->capture_default_str();
  app.add_option("--bounce-bytes-max", o.session.bounce_bytes_max, "Bounce pages of one user, bytes; 0: half of the machine's memory")
      ->capture_default_str();
  app.add_option("--log-level", o.log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))->capture_default_str();
  app.add_flag("--foreground", o.foreground, "Log to the terminal (the daemon never forks; systemd wants it so)");
  app.add_flag("--check-config", o.check_only, "Check the options and the configuration file, and exit");
  app.add_flag("--break-something", o.session.break_something, "For tests: answer guards without recalling anybody")->group("");
  add_policy(app, o.session.policy);
  add_admin(app, o.admin);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    *status = app.exit(e) == 0 ? 0 : 2;
    return std::nullopt;
  }
  const std::string error = nesting_error(o.session.policy, kernel_lease_break_time_ms());
  if (!error.empty()) {
    std::cerr << "mrleased: " << error << "\n";
    *status = 2;
    return std::nullopt;
  }
  if (const auto* config = app.get_option("--config"); config->count() != 0) o.config_file = config->as<std::string>();
  if (app.get_option("--admin-socket")->count() == 0 && app.get_option("--socket")->count() != 0)
    o.admin.socket = std::filesystem::absolute(o.socket).parent_path() / "admin.sock";
  o.admin.healthy = !o.session.break_something;
  o.listed = list(app, {argv + 1, argv + argc});
  if (o.session.bounce_bytes_max == 0)
    o.session.bounce_bytes_max = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) / 2 * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return o;
}

}  // namespace mrlease::loop
