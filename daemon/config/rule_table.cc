// SPDX-License-Identifier: Apache-2.0
// The keys of a [[rule]].
#include <algorithm>
#include <utility>

#include "daemon/config/table.h"

namespace mrlease::config {
namespace {

using session::May;
using session::Rule;
using Texts = std::vector<std::string>;

template <typename T>
using Words = std::vector<std::pair<std::string, T>>;

const Words<May> kLeases = {{"any", May::Any}, {"read", May::Read}, {"none", May::Nothing}};
const Words<core::OnTimeout> kOnTimeout = {
    {"fence", core::OnTimeout::Fence}, {"deny", core::OnTimeout::Deny}, {"kill", core::OnTimeout::Kill}};

template <typename T>
std::string word_for(const Words<T>& words, T meaning) {
  return std::find_if(words.begin(), words.end(), [&](const auto& w) { return w.second == meaning; })->first;
}

template <typename T>
T meaning_of(const Words<T>& words, const std::string& word) {
  return std::find_if(words.begin(), words.end(), [&](const auto& w) { return w.first == word; })->second;
}

RuleRow named(std::string name, Type type, std::string help) {
  RuleRow row;
  row.name = std::move(name);
  row.group = "Rules";
  row.type = type;
  row.help = std::move(help);
  row.reloadable = true;
  return row;
}

// As the option of the same name has it, which says what is allowed.
template <typename Field>
RuleRow deadline(const std::string& name, Field field) {
  const Row& option = *find_row(name);
  RuleRow row = named(name, Type::Number, "As the option of this name, for what this rule is for.");
  row.min = option.min;
  row.max = option.max;
  row.unit = option.unit;
  row.get = [field](const Rule& r) { return (r.*field) ? Texts{std::to_string(*(r.*field))} : Texts{}; };
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
  rows.push_back(named("leases", Type::Word, "What may be leased: any, for reading only, or none (EACCES). Without it: any."));
  for (const auto& w : kLeases) rows.back().words.push_back(w.first);
  rows.back().get = [](const Rule& r) { return Texts{word_for(kLeases, r.leases)}; };
  rows.back().set = [](Rule& r, const Texts& v) { r.leases = meaning_of(kLeases, v.front()); };
  rows.push_back(deadline("recall-deadline-ms", &Rule::recall_deadline));
  rows.push_back(deadline("fence-deadline-ms", &Rule::fence_deadline));
  rows.push_back(named("on-timeout", Type::Word, "As the option of this name, for what this rule is for."));
  for (const auto& w : kOnTimeout) rows.back().words.push_back(w.first);
  rows.back().get = [](const Rule& r) { return r.on_timeout ? Texts{word_for(kOnTimeout, *r.on_timeout)} : Texts{}; };
  rows.back().set = [](Rule& r, const Texts& v) { r.on_timeout = meaning_of(kOnTimeout, v.front()); };
  return rows;
}

}  // namespace

const std::vector<RuleRow>& rule_table() {
  static const std::vector<RuleRow> rows = make();
  return rows;
}

}  // namespace mrlease::config
