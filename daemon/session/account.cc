// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/account.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <string>

namespace mrlease::session {

namespace {

struct Kind {
  const char* what;
  const char* option;
  std::uint64_t Usage::*used;
  std::uint64_t limit;
};

}  // namespace

struct Accounts::Account {
  std::atomic<std::uint64_t> sessions = 0, leases = 0, bounce_bytes = 0, descriptors = 0, recalls = 0;

  void add(const Usage& u) {
    sessions += u.sessions;
    leases += u.leases;
    bounce_bytes += u.bounce_bytes;
    descriptors += u.descriptors;
    recalls += u.recalls;
  }
  void take(const Usage& u) { add({0 - u.sessions, 0 - u.leases, 0 - u.bounce_bytes, 0 - u.descriptors, 0 - u.recalls}); }
};

Charge Accounts::charge(uid_t user, const Usage& what) {
  auto& account = accounts_[user];
  if (!account) account = std::make_shared<Account>();
  account->add(what);
  return {account.get(), [account, what](const void*) { account->take(what); }};
}

Usage Accounts::of(uid_t user) const {
  const auto found = accounts_.find(user);
  if (found == accounts_.end()) return {};
  const Account& a = *found->second;
  return {a.sessions, a.leases, a.bounce_bytes, a.descriptors, a.recalls};
}

// Each charge has a reference.
void Accounts::forget_unused() {
  std::erase_if(accounts_, [](const auto& each) { return each.second.use_count() == 1; });
}

Verdict check_quota(const Usage& has, const Usage& more, const Options& limits) {
  const std::array<Kind, 5> kinds = {{{"sessions", "sessions-max", &Usage::sessions, limits.sessions_max},
                                      {"leases", "leases-max", &Usage::leases, limits.leases_max},
                                      {"bytes of bounce pages", "bounce-bytes-max", &Usage::bounce_bytes, limits.bounce_bytes_max},
                                      {"descriptors", "descriptors-max", &Usage::descriptors, limits.descriptors_max},
                                      {"recalls that they have not answered", "recalls-max", &Usage::recalls, limits.recalls_max}}};
  for (const Kind& k : kinds) {
    const std::uint64_t used = has.*k.used, wanted = more.*k.used;
    if (wanted == 0 || (used <= k.limit && wanted <= k.limit - used)) continue;
    return {EDQUOT, "the user's clients have " + std::to_string(used) + " " + k.what + ", and " + std::to_string(wanted) +
                        " more would exceed " + std::to_string(k.limit) + " (--" + k.option + ")"};
  }
  return {};
}

}  // namespace mrlease::session
