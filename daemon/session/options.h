// SPDX-License-Identifier: Apache-2.0
// What the administrator decides, as the session layer needs it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "daemon/core/types.h"
#include "daemon/session/rules.h"

namespace mrlease::session {

struct Options {
  core::Policy policy;
  std::vector<Rule> rules;             // where it differs by file and user
  std::string userfaultfd = "always";  // always, never, or the name of a group whose members may use it
  std::uint32_t leases_max = 4096;     // of one user
  std::uint32_t sessions_max = 256;    // of one user
  std::uint32_t descriptors_max = 16384;          // that the daemon has open for one user
  std::uint32_t recalls_max = 16384;              // that one user's clients have not answered
  std::uint32_t messages_per_second_max = 50000;  // of one user
  std::uint64_t bounce_bytes_max = 0;  // bounce pages of one user, bytes; 0: half of the machine's memory
  std::uint64_t frozen_bytes_max = 0;  // memory of one user's freezes, bytes; 0: a quarter of the machine's
  core::Time reclaim_grace = 5000;     // ms that clients of a daemon that is gone have, before others register
  bool break_something = false;        // the planted control: answer guards without recalling

  // Of a bounce freeze. A page is whole once it stands still for longer than its writer is held up in the middle of it:
  // by a busy host, or by a retransmission (67 ms is the usual timeout, local ACK timeout 14). All looks together, twice
  // the patience at most, take half of what the work may take.
  std::chrono::milliseconds settle_pause() const { return bounded(std::min(policy.recall_deadline, policy.work_deadline) / 20, 100); }
  std::chrono::milliseconds settle_patience() const {
    return bounded(std::min(policy.recall_deadline / 2, policy.work_deadline / 4), 1000);
  }

 private:
  static std::chrono::milliseconds bounded(core::Time time, core::Time most) {
    return std::chrono::milliseconds(std::clamp<core::Time>(time, 1, most));
  }
};

}  // namespace mrlease::session
