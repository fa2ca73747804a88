// SPDX-License-Identifier: Apache-2.0
// The keys of a [[rule]].
#include <algorithm>
#include <optional>
#include <utility>

#include "daemon/config/table.h"

namespace mrlease::config {
namespace {

using session::May;
using session::Only;
using session::Rule;
using Texts = std::vector<std::string>;
constexpr std::uint64_t kDayMs = 24 * 60 * 60 * 1000;

template <typename T>
using Words = std::vector<std::pair<std::string, T>>;
const Words<May> kLeases = {{"any", May::Any}, {"read", May::Read}, {"none", May::Nothing}};
const Words<Only> kBackings = {{"any", Only::Any}, {"odp", Only::Odp}, {"bounce", Only::Bounce}, {"direct", Only::Direct}};

RuleRow named(std::string name, Type type, std::string help) {
  RuleRow row;
  row.name = std::move(name);
  row.group = "Rules";
  row.type = type;
  row.help = std::move(help);
  row.reloadable = true;
  return row;
}

template <typename T>
RuleRow word(RuleRow row, T Rule::*field, const Words<T>& words) {
  for (const auto& w : words) row.words.push_back(w.first);
  row.get = [field, &words](const Rule& r) {
    return Texts{std::find_if(words.begin(), words.end(), [&](const auto& w) { return w.second == r.*field; })->first};
  };
  row.set = [field, &words](Rule& r, const Texts& v) {
    r.*field = std::find_if(words.begin(), words.end(), [&](const auto& w) { return w.first == v.front(); })->second;
  };
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

// Of what only the client's library can keep to.
RuleRow number(RuleRow row, std::uint64_t min, std::uint64_t max, std::string unit, std::uint64_t example, std::optional<std::uint64_t> Rule::*field) {
  row.min = min;
  row.max = max;
  row.unit = std::move(unit);
  row.example = example;
  row.help += " For leases that are granted from now on.";
  row.get = [field](const Rule& r) { return r.*field ? Texts{std::to_string(*(r.*field))} : Texts{}; };
  row.set = [field](Rule& r, const Texts& v) { r.*field = std::stoull(v.front()); };
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
  rows.push_back(word(named("leases", Type::Word, "What may be leased: any, for reading only, or none (EACCES). Without it: any."), &Rule::leases, kLeases));
  rows.push_back(word(named("backing", Type::Word,
                            "The backing that a lease may have. Who leaves the choice to the library (auto) gets that one where it can be had; who "
                            "asks for another is refused (EOPNOTSUPP). Without it: any."),
                      &Rule::backing, kBackings));
  rows.push_back(as_option("recall-deadline-ms", &Rule::recall_deadline, &core::Terms::recall_deadline));
  rows.push_back(as_option("fence-deadline-ms", &Rule::fence_deadline, &core::Terms::fence_deadline));
  rows.push_back(as_option("on-timeout", &Rule::on_timeout, &core::Terms::on_timeout));
  rows.push_back(as_option("writeback-interval-ms", &Rule::writeback_interval, &core::Terms::writeback_interval));
  rows.push_back(named("orphans", Type::Word,
                       "What becomes of what a truncate cuts off from under an odp lease: kept in the client's memory where it asks for that "
                       "(MRL_REG_PRESERVE_ORPHANS), or discarded whatever it asks for. Without it: any. For leases that are granted from now on."));
  rows.back().words = {"any", "discard"};
  rows.back().get = [](const Rule& r) { return r.preserve_orphans ? Texts{*r.preserve_orphans ? "any" : "discard"} : Texts{}; };
  rows.back().set = [](Rule& r, const Texts& v) { r.preserve_orphans = v.front() == "any"; };
  rows.push_back(number(named("orphan-bytes-max", Type::Number, "The most that is copied of what one truncate is about to cut off. What peers write there, or have under a freeze, is kept all the same."), 4096, std::uint64_t{1} << 50,
                        "bytes", std::uint64_t{64} << 20, &Rule::orphan_bytes_max));
  rows.push_back(number(named("orphan-keep-ms", Type::Number, "The longest that what was cut off is kept."), 1, kDayMs, "ms", 60000, &Rule::orphan_keep_max));
  rows.push_back(number(named("peer-budget-ms", Type::Number,
                              "The longest stall of its peer that a client of transparent leases may allow; a thaw that would take longer asks for quiet first."),
                        1, kDayMs, "ms", 200, &Rule::peer_budget_max));
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
