// SPDX-License-Identifier: Apache-2.0
#include "daemon/config/table.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace mrlease::config {
namespace {

constexpr std::uint64_t kLongest = 600000;
constexpr std::uint64_t kGraceMax = 60000;  // whoever waits for its end gives up after 120 s (the library's calls)

// Access says where in Options the value lives.
template <typename Access>
Row number(Row row, std::uint64_t min, std::uint64_t max, const std::string& unit, Access access) {
  row.type = Type::Number;
  row.min = min;
  row.max = max;
  row.unit = unit;
  row.get = [access](const Options& o) { return std::vector{std::to_string(access(const_cast<Options&>(o)))}; };
  row.set = [access](Options& o, const std::vector<std::string>& v) {
    auto& field = access(o);
    field = static_cast<std::decay_t<decltype(field)>>(std::stoull(v.front()));
  };
  return row;
}

template <typename Access>
Row text(Row row, const std::string& stands_for, Access access) {
  row.type = Type::Text;
  row.unit = stands_for;
  row.get = [access](const Options& o) { return std::vector{access(const_cast<Options&>(o))}; };
  row.set = [access](Options& o, const std::vector<std::string>& v) { access(o) = v.front(); };
  return row;
}

template <typename Access>
Row list(Row row, const std::string& stands_for, Access access) {
  row.type = Type::List;
  row.unit = stands_for;
  row.get = [access](const Options& o) { return access(const_cast<Options&>(o)); };
  row.set = [access](Options& o, const std::vector<std::string>& v) { access(o) = v; };
  return row;
}

template <typename Access>
Row flag(Row row, Access access) {
  row.type = Type::Flag;
  row.get = [access](const Options& o) { return std::vector{std::string(access(const_cast<Options&>(o)) ? "true" : "false")}; };
  row.set = [access](Options& o, const std::vector<std::string>& v) { access(o) = v.front() == "true"; };
  return row;
}

// A word and what it means in Options.
template <typename T, typename Access>
Row word(Row row, const std::vector<std::pair<std::string, T>>& words, Access access) {
  row.type = Type::Word;
  for (const auto& [name, meaning] : words) row.words.push_back(name);
  row.get = [words, access](const Options& o) {
    const auto same = [&](const auto& w) { return w.second == access(const_cast<Options&>(o)); };
    return std::vector{std::find_if(words.begin(), words.end(), same)->first};
  };
  row.set = [words, access](Options& o, const std::vector<std::string>& v) {
    access(o) = std::find_if(words.begin(), words.end(), [&](const auto& w) { return w.first == v.front(); })->second;
  };
  return row;
}

Row named(std::string name, std::string group, std::string help) {
  Row row;
  row.name = std::move(name);
  row.group = std::move(group);
  row.help = std::move(help);
  return row;
}

Row reloadable(Row row) {
  row.reloadable = true;
  return row;
}

Row hidden(Row row) {
  row.hidden = true;
  return row;
}

void add_general(std::vector<Row>& rows) {
  rows.push_back(text(named("socket", "General", "The Unix socket for clients; one that another daemon serves is left alone."),
                      "PATH", [](Options& o) -> auto& { return o.socket; }));
  rows.push_back(list(named("root", "General",
                            "Arm the file system of this directory from the start (repeatable): from Linux 6.14 on, only "
                            "descriptors that were opened after that can be held."),
                      "DIR", [](Options& o) -> auto& { return o.roots; }));
  rows.push_back(reloadable(text(named("userfaultfd", "General",
                                       "Who may use userfaultfd for device faults, which transparent breaks need: always, never, "
                                       "or the name of a group. It lets a process hold up a device's and its own threads' "
                                       "faults; it reaches no other process."),
                                 "always|never|GROUP", [](Options& o) -> auto& { return o.session.userfaultfd; })));
  rows.push_back(reloadable(word<std::string>(named("log-level", "General", "What is logged, this and what is worse."),
                                              {{"debug", "debug"}, {"info", "info"}, {"warning", "warning"}, {"error", "error"}},
                                              [](Options& o) -> auto& { return o.log_level; })));
  rows.push_back(flag(named("foreground", "General", "Log to the terminal, with the time of day (the daemon never forks)."),
                      [](Options& o) -> auto& { return o.foreground; }));
  rows.push_back(hidden(flag(named("break-something", "", "For tests: answer guards without recalling anybody"),
                             [](Options& o) -> auto& { return o.session.break_something; })));
}

void add_deadlines(std::vector<Row>& rows) {
  const auto add = [&](const char* name, const char* help, std::uint64_t max, auto access) {
    rows.push_back(reloadable(number(named(name, "Deadlines", help), 10, max, "ms", access)));
  };
  add("recall-deadline-ms",
      "A client's time to comply with a recall. A foreign operation waits at most for this plus twice the fence's "
      "deadline, whatever the application does.",
      kLongest, [](Options& o) -> auto& { return o.session.policy.recall_deadline; });
  add("fence-deadline-ms", "The fence's time; a client that is not fenced by then is killed. Shorter than recall-deadline-ms.",
      kLongest, [](Options& o) -> auto& { return o.session.policy.fence_deadline; });
  add("passing-bound-ms", "An allowed operation that is still running after this is reported; its range stays revoked.",
      kLongest, [](Options& o) -> auto& { return o.session.policy.passing_bound; });
  add("work-deadline-ms", "The daemon's own writing to the file; overrun is reported and the break goes on.", kLongest,
      [](Options& o) -> auto& { return o.session.policy.work_deadline; });
  add("reclaim-grace-ms",
      "After a start, clients of a daemon that ended without handing over have this time to reclaim their leases before "
      "new ones are granted. Ends when all of them have; does not begin where none of them lives.",
      kGraceMax, [](Options& o) -> auto& { return o.session.reclaim_grace; });
  add("freeze-hold-max-ms", "The longest hold of a freeze.", 3600000,
      [](Options& o) -> auto& { return o.session.policy.freeze_hold_max; });
}

void add_policies(std::vector<Row>& rows) {
  rows.push_back(reloadable(word<core::OnTimeout>(
      named("on-timeout", "Policies",
            "What happens when a client does not comply by the recall deadline: fence it, deny the foreign operation with "
            "EBUSY, or kill the client. Where the guard cannot deny (the lease guard of kernels before 6.14), deny fences."),
      {{"fence", core::OnTimeout::Fence}, {"deny", core::OnTimeout::Deny}, {"kill", core::OnTimeout::Kill}},
      [](Options& o) -> auto& { return o.session.policy.on_timeout; })));
  rows.push_back(reloadable(word<core::FreezeConflict>(
      named("freeze-conflict", "Policies",
            "What happens to a foreign operation that would change a frozen range: it waits, it thaws the freeze, or it is "
            "allowed and reported."),
      {{"wait", core::FreezeConflict::Wait}, {"thaw", core::FreezeConflict::Thaw}, {"allow", core::FreezeConflict::Allow}},
      [](Options& o) -> auto& { return o.session.policy.freeze_conflict; })));
  rows.push_back(reloadable(number(
      named("writeback-interval-ms", "Policies",
            "Sync a file this often while it is leased for writing, without anybody's asking: what peers have written is on the disk after "
            "this and the time of a sync; through a lease that is frozen, after its thaw. A sync may hold up a foreign operation for "
            "work-deadline-ms. At least 100; 0: never, then it takes mrl_sync, fsync(2), or the kernel, which writes back what it knows to be dirty."),
      0, 3600000, "ms", [](Options& o) -> auto& { return o.session.policy.writeback_interval; })));
}

void add_limits(std::vector<Row>& rows) {
  rows.push_back(reloadable(number(named("leases-max", "Limits", "Leases of one user."), 1, 1000000, "",
                                   [](Options& o) -> auto& { return o.session.leases_max; })));
  rows.push_back(reloadable(number(named("sessions-max", "Limits", "Connections of one user."), 1, 100000, "",
                                   [](Options& o) -> auto& { return o.session.sessions_max; })));
  rows.push_back(reloadable(number(named("descriptors-max", "Limits", "Descriptors that the daemon has open for one user's clients."), 1, 1000000, "",
                                   [](Options& o) -> auto& { return o.session.descriptors_max; })));
  rows.push_back(reloadable(number(named("recalls-max", "Limits",
                                         "Recalls that one user's clients have not answered; a lease whose recall would be one more is fenced at once."),
                                   1, 1000000, "", [](Options& o) -> auto& { return o.session.recalls_max; })));
  rows.push_back(reloadable(number(named("messages-per-second-max", "Limits",
                                         "Messages of one user's clients in a second, all together; who sends more is read later."),
                                   100, 1000000, "", [](Options& o) -> auto& { return o.session.messages_per_second_max; })));
  rows.push_back(reloadable(number(named("frozen-bytes-max", "Limits",
                                         "Memory that the freezes of one user may take, for what peers write under them; beyond it the largest is "
                                         "thawed; 0: a quarter of the machine's."),
                                   0, 1ull << 50, "bytes", [](Options& o) -> auto& { return o.session.frozen_bytes_max; })));
  rows.push_back(reloadable(number(named("bounce-bytes-max", "Limits", "Bounce pages of one user; 0: half of the machine's memory."),
                                   0, 1ull << 50, "bytes", [](Options& o) -> auto& { return o.session.bounce_bytes_max; })));
}

void add_admin(std::vector<Row>& rows) {
  const auto add = [&](const char* name, const char* help, const char* stands_for, auto access) {
    rows.push_back(text(named(name, "Administration", help), stands_for, access));
    rows.back().optional = true;
  };
  add("admin-socket", "The Unix socket for administrators, root only; auto: admin.sock beside the clients' socket.", "PATH|auto|none",
      [](Options& o) -> auto& { return o.admin.socket; });
  rows.back().optional = false;
  add("admin-listen", "Also serve administrators here, by mutual TLS only.", "HOST:PORT", [](Options& o) -> auto& { return o.admin.listen; });
  rows.back().type = Type::Address;
  add("admin-tls-cert", "The daemon's certificate (PEM), for admin-listen; read again when it changes.", "FILE",
      [](Options& o) -> auto& { return o.admin.tls_cert; });
  add("admin-tls-key", "Its private key (PEM).", "FILE", [](Options& o) -> auto& { return o.admin.tls_key; });
  add("admin-tls-client-ca", "Whose certificates administrators have (PEM).", "FILE", [](Options& o) -> auto& { return o.admin.tls_client_ca; });
  rows.push_back(number(named("admin-events-max", "Administration", "Events that are kept for who watches."), 1, 10000000, "",
                        [](Options& o) -> auto& { return o.admin.events_max; }));
  add("metrics-listen", "Serve metrics to Prometheus here (http, /metrics).", "HOST:PORT", [](Options& o) -> auto& { return o.admin.metrics_listen; });
  rows.back().type = Type::Address;
}

std::vector<Row> make_table() {
  std::vector<Row> rows;
  add_general(rows);
  add_deadlines(rows);
  add_policies(rows);
  add_limits(rows);
  add_admin(rows);
  return rows;
}

// Whether there is such a host is found out by listening.
bool is_address(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0 || text.size() > colon + 6 || text.find_first_of(" \t/") != std::string::npos) return false;
  const std::string host = text.substr(0, colon), port = text.substr(colon + 1);
  if (host.find(':') != std::string::npos && (host.front() != '[' || host.back() != ']')) return false;
  return !port.empty() && port.find_first_not_of("0123456789") == std::string::npos && std::stoul(port) <= 65535;
}

bool is_number(const std::string& text, std::uint64_t min, std::uint64_t max) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= min && value <= max;
}

}  // namespace

const std::vector<Row>& table() {
  static const std::vector<Row> rows = make_table();
  return rows;
}

const Row* find_row(const std::string& name) {
  const auto it = std::find_if(table().begin(), table().end(), [&](const Row& row) { return row.name == name; });
  return it == table().end() ? nullptr : &*it;
}

std::string allowed(const Key& row) {
  switch (row.type) {
    case Type::Flag: return "true or false";
    case Type::Number:
      return std::to_string(row.min) + " to " + std::to_string(row.max) + (row.unit.empty() ? "" : " " + row.unit);
    case Type::Word: {
      std::string list;
      for (const auto& w : row.words) list += (list.empty() ? "one of " : ", ") + w;
      return list;
    }
    case Type::Text: return row.unit;
    case Type::Address: return "HOST:PORT, the port 0 to 65535";
    case Type::List: return "any number of " + row.unit;
  }
  return {};
}

std::string wrong(const Key& row, const std::string& text) {
  bool good = true;
  if (row.type == Type::Flag) good = text == "true" || text == "false";
  if (row.type == Type::Number) good = is_number(text, row.min, row.max);
  if (row.type == Type::Word) good = std::find(row.words.begin(), row.words.end(), text) != row.words.end();
  if (row.type == Type::Address) good = is_address(text);
  if (row.type == Type::Text || row.type == Type::List) good = !text.empty();
  if (row.optional && text.empty()) good = true;
  return good ? "" : "'" + text + "' is not allowed: " + allowed(row);
}

}  // namespace mrlease::config
