// SPDX-License-Identifier: Apache-2.0
// What the clients of one user have of the daemon, and how much of it they may have.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>

#include "daemon/session/descriptors.h"
#include "daemon/session/options.h"

namespace mrlease::session {

struct Usage {
  std::uint64_t sessions = 0;
  std::uint64_t leases = 0;
  std::uint64_t bounce_bytes = 0;
  std::uint64_t descriptors = 0;
  std::uint64_t recalls = 0;  // that they have not answered
};

// The user is charged as long as one copy of it lives, which may end in any thread.
using Charge = std::shared_ptr<const void>;

// Used by the loop's thread.
class Accounts {
 public:
  Charge charge(uid_t user, const Usage& what);
  Usage of(uid_t user) const;
  void forget_unused();

 private:
  struct Account;
  std::map<uid_t, std::shared_ptr<Account>> accounts_;
};

// EDQUOT, and what of it would be too much; code 0: there is room for more.
Verdict check_quota(const Usage& has, const Usage& more, const Options& limits);

}  // namespace mrlease::session
