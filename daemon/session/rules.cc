// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/rules.h"

#include <fnmatch.h>

#include <algorithm>
#include <cerrno>

#include "daemon/core/break_table.h"

namespace mrlease::session {
namespace {

bool allows(May may, bool write) { return may == May::Any || (may == May::Read && !write); }

bool allows(Only only, core::Backing backing) {
  switch (only) {
    case Only::Odp: return core::on_demand(backing);
    case Only::Bounce: return backing == core::Backing::Bounce;
    case Only::Direct: return backing == core::Backing::Direct;
    default: return true;
  }
}

const char* name(Only only) { return only == Only::Odp ? "odp" : only == Only::Bounce ? "bounce" : "direct"; }

// What the rule says to that lease, of a file of that name.
Ruling rule_on(const Rule& rule, std::uint16_t number, const std::string& file, bool write, core::Backing backing) {
  const std::string by = "a rule of the administrator (line " + std::to_string(rule.line) + " of the daemon's configuration) allows no lease";
  if (!allows(rule.leases, write)) return {number, by + (rule.leases == May::Read ? " for writing" : "") + " of " + file, EACCES};
  if (!allows(rule.backing, backing)) return {number, by + " of another backing than " + name(rule.backing) + " of " + file, EOPNOTSUPP};
  return {number, "", 0};
}

}  // namespace

bool Rule::fits_user(uid_t uid) const { return users.empty() || std::find(uids.begin(), uids.end(), uid) != uids.end(); }

bool Rule::operator==(const Rule& o) const {
  return ClientLimits::operator==(o) && path == o.path && users == o.users && uids == o.uids && leases == o.leases && backing == o.backing && recall_deadline == o.recall_deadline &&
         fence_deadline == o.fence_deadline && on_timeout == o.on_timeout && writeback_interval == o.writeback_interval &&
         userfaultfd == o.userfaultfd;
}

Ruling judge(const std::vector<Rule>& rules, const std::string& name, uid_t uid, bool write, core::Backing backing) {
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const Rule& rule = rules[i];
    if (!rule.fits_user(uid)) continue;
    const auto number = static_cast<std::uint16_t>(i + 1);
    if (!rule.path.empty() && name.empty()) {
      const std::string could = rule.path + ", and this file's name cannot be told: it is unlinked, or in a mount namespace of its own";
      if (Ruling ruled = rule_on(rule, 0, could, write, backing); ruled.code != 0) return ruled;
      continue;
    }
    if (!rule.path.empty() && ::fnmatch(rule.path.c_str(), name.c_str(), 0) != 0) continue;
    return rule_on(rule, number, name.empty() ? "any file" : name, write, backing);
  }
  return {};
}

std::optional<bool> gives_userfaultfd(const std::vector<Rule>& rules, uid_t uid) {
  for (const Rule& rule : rules)
    if (rule.path.empty() && rule.userfaultfd && rule.fits_user(uid)) return rule.userfaultfd;
  return {};
}

ClientLimits limits_of(const std::vector<Rule>& rules, std::uint16_t rule, core::Backing backing) {
  if (rule == 0 || rule > rules.size() || !core::on_demand(backing)) return {};  // beyond: of a configuration that was read anew since
  ClientLimits limits = rules[rule - 1];
  if (limits.preserve_orphans != false) limits.preserve_orphans.reset();  // "any" is no limit
  return limits;
}

core::Terms terms_of(const Rule& rule, const core::Policy& policy) {
  core::Terms terms = policy;
  terms.recall_deadline = rule.recall_deadline.value_or(terms.recall_deadline);
  terms.fence_deadline = rule.fence_deadline.value_or(terms.fence_deadline);
  terms.on_timeout = rule.on_timeout.value_or(terms.on_timeout);
  terms.writeback_interval = rule.writeback_interval.value_or(terms.writeback_interval);
  return terms;
}

std::vector<core::Terms> terms_of(const std::vector<Rule>& rules, const core::Policy& policy) {
  std::vector<core::Terms> all;
  for (const Rule& rule : rules) all.push_back(terms_of(rule, policy));
  return all;
}

core::Time longest_recall(const std::vector<Rule>& rules, const core::Policy& policy, uid_t uid) {
  core::Time longest = policy.recall_deadline;
  for (const Rule& rule : rules)
    if (rule.fits_user(uid)) longest = std::max(longest, terms_of(rule, policy).recall_deadline);
  return longest;
}

}  // namespace mrlease::session
