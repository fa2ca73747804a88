// SPDX-License-Identifier: Apache-2.0
// Who may lease which files, and on what terms, where that differs from the policy for all. The first rule that fits decides. Pure.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/core/types.h"

namespace mrlease::session {

enum class May : std::uint8_t { Any, Read, Nothing };
enum class Only : std::uint8_t { Any, Odp, Bounce, Direct };

// What a client's library keeps to, where a rule says so. Not set: as the client asks.
struct ClientLimits {
  std::optional<bool> preserve_orphans;  // false: what a truncate cuts off is never kept
  std::optional<std::uint64_t> orphan_bytes_max, orphan_keep_max, peer_budget_max;  // bytes; ms
  bool operator==(const ClientLimits&) const = default;
};

struct Rule : ClientLimits {
  std::string path;                 // fnmatch(3) without FNM_PATHNAME: '*' takes '/' too; empty: every file
  std::vector<std::string> users;   // names or numbers, as the administrator wrote them; empty: everybody
  std::vector<uid_t> uids;          // the same
  May leases = May::Any;
  Only backing = Only::Any;
  // Not set: as the policy has it.
  std::optional<core::Time> recall_deadline, fence_deadline;  // ms
  std::optional<core::OnTimeout> on_timeout;
  std::optional<core::Time> writeback_interval;  // ms
  std::optional<bool> userfaultfd;  // without a path only: it is given before any file is known
  unsigned line = 0;                // of the configuration file

  bool fits_user(uid_t uid) const;
  bool operator==(const Rule& other) const;  // whatever the line
};

struct Ruling {
  std::uint16_t rule = 0;  // from 1; 0: none fits
  std::string refused;     // why a lease is not granted; empty: it may be
  int code = 0;            // EACCES; EOPNOTSUPP: with another backing it may be
};
// name: of sys::name_of(). A file without one is no client's way around a rule: it is refused where any path that a rule
// gives this user less for could be its.
Ruling judge(const std::vector<Rule>& rules, const std::string& name, uid_t uid, bool write, core::Backing backing);

// Whether the user's clients get a userfaultfd: the first rule for every file that fits the user and says so. Nothing: none does.
std::optional<bool> gives_userfaultfd(const std::vector<Rule>& rules, uid_t uid);

core::Terms terms_of(const Rule& rule, const core::Policy& policy);
// Of a lease's rule, Ruling::rule; of a backing that has no use for them: none.
ClientLimits limits_of(const std::vector<Rule>& rules, std::uint16_t rule, core::Backing backing);
std::vector<core::Terms> terms_of(const std::vector<Rule>& rules, const core::Policy& policy);
// The longest recall deadline that a lease of this user can have.
core::Time longest_recall(const std::vector<Rule>& rules, const core::Policy& policy, uid_t uid);

}  // namespace mrlease::session
