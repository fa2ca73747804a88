// SPDX-License-Identifier: Apache-2.0
// The arbiter: a deterministic state machine over leases and breaks.
#pragma once

#include <memory>
#include <vector>

#include "daemon/core/events.h"

namespace mrlease::core {

// Which foreign operations on a file must come to the arbiter; the guard answers the others itself.
struct Needs {
  bool truncate = false, destructive = false, write = false, read = false;
  bool operator==(const Needs&) const = default;
};

// Not thread-safe: one thread steps it.
class Arbiter {
 public:
  // last_recall: of a predecessor, whose recalls may still be answered: no number is used twice.
  explicit Arbiter(Policy policy, RecallId last_recall = 0);
  ~Arbiter();

  // Apply an event at `now`, together with every deadline that has passed by then. Time must not go back.
  Effects step(const Event& event, Time now);
  // When Tick is due at the latest; kNever when nothing is pending.
  Time next_deadline() const;

  Needs needs(const FileKey& file) const;
  const Lease* find(LeaseId id) const;  // valid until the next step
  // A freeze has the lease: when it ends, what its store holds is asked for as Work::Flush, at the thaw.
  bool has_frozen_store(LeaseId id) const;
  std::size_t leases() const;
  std::size_t breaks() const;  // not yet done
  const Terms& terms(LeaseId id) const;  // of a lease; of one that is not known, the policy's. Valid until the next policy
  // For what begins afterwards: deadlines that run, and the fences that follow recalls already sent, keep the old one.
  void set_policy(Policy policy, std::vector<Terms> terms = {});
  // Lease.terms; likewise for what begins afterwards, its file's writeback among it: next_deadline() may be another.
  void set_terms(LeaseId id, std::uint16_t terms);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mrlease::core
