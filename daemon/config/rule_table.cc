// SPDX-License-Identifier: Apache-2.0
// The keys of a [[rule]].
#include <algorithm>
#include <optional>
#include <utility>

#include "daemon/config/table.h"

namespace mrlease::config {
namespace {

using session::May;
using session::Rule;
using Texts = std::vector<std::string>;

const std::vector<std::pair<std::string, May>> kLeases = {{"any", May::Any}, {"read", May::Read}, {"none", May::Nothing}};

RuleRow named(std::string name, Type type, std::string help) {
  RuleRow row;
  row.name = std::move(name);
  row.group = "Rules";
  row.type = type;
  row.help = std::move(help);
  row.reloadable = true;
  return row;
}

// As the option of the same name has it, which says what is allowed and reads and writes it. theirs: where that one is in the policy.
template <typename T>
RuleRow as_option(const std::string& name, std::optional<T> Rule::*ours, T core::Terms::*theirs) {
  const Row& option = *find_row(name);
  RuleRow row = named(name, option.type, "As the option of this name, for what this rule is for.");
  row.min = option.min;
  row.max = option.max;
  row.unit = option.unit;
  row.words = option.words;
  row.get = [&option, ours, theirs](const Rule& r) {
    Options o;
    o.session.policy.*theirs = (r.*ours).value_or(T{});
    return r.*ours ? option.get(o) : Texts{};
  };
  row.set = [&option, ours, theirs](Rule& r, const Texts& v) {
    Options o;
    option.set(o, v);
    r.*ours = o.session.policy.*theirs;
  };
  return row;
}

std::vector<RuleRow> make() {
  std::vector<RuleRow> rows;
  rows.push_back(named("path", Type::Text,
                       "The files that it is for, by the name that the daemon sees: * is any letters, / among them, ? is one, [ab] one of "
                       "these. Without it: every file. A file that has no such name is refused where a rule gives its client less than any "
                       "lease by path."));
  rows.back().unit = "PATTERN";
  rows.back().get = [](const Rule& r) { return r.path.empty() ? Texts{} : Texts{r.path}; };
  rows.back().set = [](Rule& r, const Texts& v) { r.path = v.front(); };
  rows.push_back(named("user", Type::List, "The users whose leases it is for, names or numbers. Without it: everybody."));
  rows.back().unit = "USER";
  rows.back().get = [](const Rule& r) { return r.users; };
  rows.back().set = [](Rule& r, const Texts& v) { r.users = v; };
  rows.push_back(named("leases", Type::Word, "What may be leased: any, for reading only, or none (EACCES). Without it: any."));
  for (const auto& w : kLeases) rows.back().words.push_back(w.first);
  rows.back().get = [](const Rule& r) {
    return Texts{std::find_if(kLeases.begin(), kLeases.end(), [&](const auto& w) { return w.second == r.leases; })->first};
  };
  rows.back().set = [](Rule& r, const Texts& v) {
    r.leases = std::find_if(kLeases.begin(), kLeases.end(), [&](const auto& w) { return w.first == v.front(); })->second;
  };
  rows.push_back(as_option("recall-deadline-ms", &Rule::recall_deadline, &core::Terms::recall_deadline));
  rows.push_back(as_option("fence-deadline-ms", &Rule::fence_deadline, &core::Terms::fence_deadline));
  rows.push_back(as_option("on-timeout", &Rule::on_timeout, &core::Terms::on_timeout));
  rows.push_back(as_option("writeback-interval-ms", &Rule::writeback_interval, &core::Terms::writeback_interval));
  rows.push_back(named("userfaultfd", Type::Word,
                       "Whether the clients of these users get what transparent breaks need, whatever the option of this name says. In a rule "
                       "without a path only: they get it before any file is known. Of the rules that say so, the first whose user fits decides."));
  rows.back().words = {"always", "never"};
  rows.back().get = [](const Rule& r) { return r.userfaultfd ? Texts{*r.userfaultfd ? "always" : "never"} : Texts{}; };
  rows.back().set = [](Rule& r, const Texts& v) { r.userfaultfd = v.front() == "always"; };
  return rows;
}

}  // namespace

const std::vector<RuleRow>& rule_table() {
  static const std::vector<RuleRow> rows = make();
  return rows;
}

}  // namespace mrlease::config
