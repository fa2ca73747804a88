// SPDX-License-Identifier: Apache-2.0
// Watches an arbiter from outside, by events and effects, and holds it to the promises. It shares no code with the
// arbiter: a lease is what was granted, out of the way is who said so.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "daemon/core/arbiter.h"

namespace mrlease::core {

class Auditor {
 public:
  explicit Auditor(const Policy& policy) : policy_(policy) {}

  // Before the step that applies it.
  void saw(const Event& event, Time now);
  // After it. arbiter: only for what it says of a lease.
  void saw(const Effects& effects, Time now, const Arbiter& arbiter);
  // When nothing is under way any more.
  void drained();
  const std::vector<std::string>& complaints() const { return complaints_; }

  struct LeaseView {
    Lease lease;
    bool fenced = false;
    bool ending = false;
    bool store_owed = false;  // odp, direct: ended while frozen, not merged yet
    Time fence_began = kNever;
    bool quiesced = false;              // direct: no registration
    std::uint64_t trimmed_at = kToEnd;  // odp: nothing from here on is on the file
    int frozen = 0;                     // freezes minus thaws, of odp and direct
    bool held = false;                  // bounce: flushing is stopped
    bool frozen_flush = false;
  };
  struct BreakView {
    event::RequestBreak ask;
    int answers = 0, dones = 0;
    int code = 0;
    bool dropped = false;  // its session went while it was queued, or may have
    int overtaken = 0;     // a foreign operation: by how many breaks of sessions, with no freeze to wait for
    bool may_thaw = false;
    Time held_since = kNever;
    std::set<LeaseId> under;  // what the operation that is inside must not meet
  };
  const std::map<LeaseId, LeaseView>& leases() const { return leases_; }
  const std::map<BreakId, BreakView>& breaks() const { return breaks_; }

 private:
  void complain(const std::string& what) { complaints_.push_back(what); }
  void recall_answered(const event::RecallAnswered& e);
  void answered(const effect::BreakAnswered& e, Time now, const Arbiter& arbiter);
  void granted(const effect::Granted& e);
  void work_started(const effect::StartWork& w, Time now);
  void recalled(const effect::Recall& r, const Arbiter& arbiter);
  void went_in(const effect::WatchPassing& e, const Arbiter& arbiter);
  void ended(LeaseView& v);
  void forgotten(LeaseId id);
  void gives_back(LeaseId id);
  bool frozen(const LeaseView& v, Time now) const;
  void over(const effect::BreakDone& e, Time now);
  void check_bounds(Time now);
  bool reachable(const LeaseView& v, const BreakView& b, Time now, std::uint64_t on_file_end) const;

  Policy policy_;
  bool going_ = false;  // in this step the leases of a session end one after the other
  std::map<RequestId, Lease> requests_;
  std::map<LeaseId, LeaseView> leases_;
  std::map<BreakId, BreakView> breaks_;
  std::map<FileKey, std::vector<BreakId>> line_;  // not done, in order of arrival
  std::map<FileKey, Time> progress_;              // when a break of the file was last answered or done, or its line began
  std::map<RecallId, effect::Recall> recalls_;
  std::vector<std::string> complaints_;
};

}  // namespace mrlease::core
