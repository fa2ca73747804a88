// SPDX-License-Identifier: Apache-2.0
// Holds the daemon to its promises after every step. It knows what was asked, what was answered, what a device could in
// truth reach and what is in truth in the files; of how the arbiter decides it knows nothing.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "daemon/core/events.h"
#include "proto/framing.h"
#include "tests/sim/coverage.h"
#include "tests/sim/memory.h"

namespace mrlease::sim {

struct Region;
struct World;
using core::Time;

core::Extent span(const core::event::RequestBreak& b);  // what its operation changes

class Auditor {
 public:
  explicit Auditor(World& world);

  // --- around every step of the arbiter ---
  void before(const core::Event& event, Time now);
  void after(const core::Event& event, const core::Effects& effects, Time now);

  // --- what is true in the world ---
  // copies: into a private copy of the page.
  void acknowledged(core::LeaseId lease, const core::FileKey& file, u64 page, u64 stamp, bool copies);
  void cut_off(core::LeaseId lease, const core::FileKey& file, u64 size);  // of this lease alone: orphans
  // What RDMA had written came into the file; by a client's own write(2) that was let go after so many answers().
  void wrote(const File& file, u64 page, u64 stamp, core::LeaseId lease, u64 let_go);
  u64 answers() const { return answers_; }  // to breaks, so far
  u64 answered_as(core::BreakId id) const { return answered_.count(id) != 0 ? answered_.at(id) : answers_; }  // which of all
  // outlived: it began under a daemon that is gone, and the successor knows nothing of it. let_go: after so many answers().
  void removes(const File& file, u64 first, u64 last, bool truncates, bool outlived, u64 let_go);
  // What is behind [first, last) moves there: a collapse.
  void collapses(const File& file, u64 first, u64 last, bool told, bool outlived, u64 let_go);
  bool overran(core::BreakId id) const;  // the time that an allowed operation has
  void mislead(const File& file, u64 end);
  void passed(const core::FileKey& file, core::BreakKind kind, bool shortens, core::Extent extent);  // the guard answered by itself
  void forgive(core::LeaseId lease) { lost_leases_.insert(lease); }  // its own client, or the kernel, broke it
  void forgive(core::LeaseId lease, const Pages& pages);  // the disk did: it has not taken these
  void peer_failed(core::LeaseId lease, u64 page);
  void covered(core::LeaseId lease, wire::v1::Guard guard);  // what it was told
  // By the kernel, for the guard; and not any more.
  void held(core::BreakId id, const core::FileKey& file, core::BreakKind kind, Time now);
  void let_go(core::BreakId id);
  void reloaded(const core::Policy& policy);
  void daemon_died();
  void daemon_gone();  // for good
  void end_of_grace() { awaits_reclaims_ = false; }
  void died(core::LeaseId lease);
  void comes_late(core::LeaseId lease) { late_.insert(lease); }  // private copies: only its process can bring them
  void reclaimed(core::LeaseId before, core::LeaseId now, const core::FileKey& file);
  void successor(Time now);
  void taken_over();
  void check_waits(Time now);
  void drained();  // everybody has done what was asked
  void ended();    // and everybody has gone

  void complain(const std::string& what) { complaints_.push_back(what); }
  const std::vector<std::string>& complaints() const { return complaints_; }
  std::vector<core::RecallId> outstanding_of_others(core::SessionId session) const;
  u64 steps() const { return steps_; }
  u64 judged() const { return judged_; }
  u64 excused() const { return excused_; }
  Coverage& coverage() { return coverage_; }

 private:
  struct LeaseView {
    core::Lease lease;
    Time fence_began = core::kNever;
    bool fenced = false, ending = false, adopted = false;
    u64 let_go_past = 0;  // its fence had overrun when a daemon ended: what that one let go is before this one of answers()
  };
  struct BreakView {
    core::event::RequestBreak ask;
    Time asked_at = 0;
    u64 stamps = 0;  // when it was asked for
    int answers = 0, code = 0;
    u64 answered_as = 0;  // of all answers, which
    bool passing = false, left = false, dropped = false, thaw_asked = false, adopted = false, inherited = false;
    Time firm_until = 0;  // a freeze: holds for certain until then
    Time holds_until = 0;  // and at most until then
    Time passing_since = 0;
    bool alone = true;      // no other break of the file meanwhile
    std::set<core::LeaseId> recalled, worked, written_back;
  };
  struct Held {
    core::FileKey file;
    core::BreakKind kind = core::BreakKind::Truncate;
    Time since = 0, due = 0;
  };
  struct Written {
    u64 stamp = 0;
    bool moved = false;  // a collapse has brought it onto what the lease had written there: unordered
    bool copies = false;
    bool came = false;   // with a collapse, to where what is in a store may be older
  };
  using Place = std::pair<u64, core::LeaseId>;  // page of a file, and through which lease

  // auditor.cc
  void requested(const core::event::RequestBreak& e, Time now);
  void adopted(const core::event::AdoptBreak& e, Time now);
  void inherited(const core::event::AdoptPassing& e, Time now);
  void gone(core::SessionId session, Time now);
  void on(const core::effect::Granted& e, Time now);
  void on(const core::effect::Recall& e, Time now);
  void on(const core::effect::StartWork& e, Time now);
  void on(const core::effect::StartFence& e, Time now);
  void on(const core::effect::BreakAnswered& e, Time now);
  void on(const core::effect::WatchPassing& e, Time now);
  void on(const core::effect::BreakDone& e, Time now);
  void on(const core::effect::Thawed& e, Time now);
  void on(const core::effect::Refused& e, Time now);
  void on(const core::effect::Extended&, Time) { coverage_.happened("growth: extended on request"); }
  void on(const core::effect::Released& e, Time) { over(e.lease); }
  void on(const core::effect::Forget& e, Time) { over(e.lease); }
  void on(const core::effect::Fenced& e, Time) { leases_[e.lease].fenced = true; }
  template <typename E>
  void on(const E&, Time) {}
  void over(core::LeaseId id);
  bool may_end(const BreakView& freeze, const core::event::RequestBreak& e) const;
  void thaws(BreakView& b, Time now) { b.firm_until = std::min(b.firm_until, now); }
  LeaseView* lease(core::LeaseId id);
  // auditor_waits.cc
  void moved(const core::FileKey& file, Time now);
  void check_order(const BreakView& answered);
  // auditor_holds.cc
  Time half_a_turn(const core::FileKey& file, core::BreakKind kind) const;
  Time rest_of(const BreakView& b, bool reading, Time now) const;
  Time due_of(const core::FileKey& file, core::BreakKind kind, core::BreakId id, Time now);
  void in_line(core::BreakId id, Time now);
  void none_held();
  void hold_anew(Time now);
  void check_held(Time now);
  // auditor_coverage.cc
  void check_keys(const Region& r);
  // auditor_data.cc
  bool excused(const Place& place, const Written& w);
  void excuse_alike(core::LeaseId before, core::LeaseId now);
  void check_durable(const BreakView& sync);
  void forgive_overrun();
  void mislead_unprotected(const File& file, u64 end);
  void shortened(const File& file, u64 end);
  void check_inside();
  void check_reach(const File& file, u64 first, u64 last, bool truncates, u64 let_go);
  void check_stillness(const BreakView& answered, Time now);
  bool overruns(const LeaseView& v) const;  // now: neither fence nor kill has ended in time

  World& w_;
  core::Policy most_;  // the longest of all that were in force
  bool may_deny_;
  bool awaits_reclaims_ = false;
  u64 steps_ = 0, answers_ = 0;
  u64 judged_ = 0, excused_ = 0;  // writes, at a sync and at the end
  std::map<core::BreakId, u64> answered_;  // foreign writes
  std::vector<std::string> complaints_;
  std::map<core::RequestId, core::Lease> requests_;
  std::map<core::LeaseId, LeaseView> leases_;
  std::map<core::FileKey, std::set<core::LeaseId>> of_file_;
  std::map<core::BreakId, BreakView> breaks_;
  std::set<core::BreakId> inside_;  // that remove pages, allowed and watched, and perhaps over
  std::map<core::FileKey, std::vector<core::BreakId>> line_;  // not done, in the order of asking
  std::map<core::FileKey, Time> due_;                         // when something must have moved
  std::set<std::pair<Time, core::FileKey>> due_order_;
  std::map<core::BreakId, Held> held_;
  std::set<std::pair<Time, core::BreakId>> held_order_;
  std::set<core::LeaseId> covered_;
  std::map<core::RecallId, core::effect::Recall> recalls_;
  std::map<core::FileKey, std::map<Place, Written>> written_;
  std::set<core::LeaseId> lost_leases_;
  std::set<core::LeaseId> overrun_;  // neither fence nor kill ended in time
  std::map<core::LeaseId, core::Lease> unprotected_;  // their daemon was gone for good, and no other has them yet
  std::map<core::LeaseId, Time> came_back_;
  std::set<core::LeaseId> late_;
  std::map<core::BreakId, Time> may_run_until_;  // those that a daemon that is gone had allowed
  std::map<core::LeaseId, u64> smallest_end_;  // of their file, since they were granted; none: it was not cut
  std::set<core::LeaseId> misled_;  // their file was shortened in a way that nobody can tell
  std::map<std::pair<core::LeaseId, u64>, u64> untaken_;  // page of a lease -> the last write that the disk did not take
  Coverage coverage_;
};

}  // namespace mrlease::sim
