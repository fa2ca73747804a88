// SPDX-License-Identifier: Apache-2.0
// The daemon ends: what a successor has to know (P5, P7), and what nobody protects when there is none.
#include <algorithm>

#include "tests/sim/world.h"

namespace mrlease::sim {

using core::BreakKind;

void Auditor::daemon_died() {
  coverage_.happened("a restart");
  forgive_overrun();
  ++answers_;  // what it had let go, and what its successor will
  for (auto& [id, v] : leases_)
    if (overruns(v)) v.let_go_past = answers_;
  none_held();
  recalls_.clear();
  requests_.clear();
  for (const auto& [id, b] : breaks_)
    if (b.passing) may_run_until_[id] = b.passing_since + w_.shape.policy.passing_bound;
  for (auto it = breaks_.begin(); it != breaks_.end();)
    it = it->second.ask.kind == BreakKind::Freeze && it->second.answers == 1 && it->second.code == 0 ? std::next(it) : breaks_.erase(it);
  line_.clear();
  due_.clear();
  due_order_.clear();
}

// Nobody protects anything until another one has the leases again. Of those that nobody will bring back, what was owed is lost.
void Auditor::daemon_gone() {
  forgive_overrun();
  none_held();
  for (const auto& [id, v] : leases_) {
    const bool comes_back = w_.by_session.count(v.lease.session) != 0 && !v.ending && v.fence_began == core::kNever;
    if (!comes_back) {
      forgive(id);
      continue;
    }
    unprotected_[id] = v.lease;
    if (w_.file(v.lease.file).size < v.lease.extent.end) misled_.insert(id);  // it puts back onto the file what had been cut off
  }
  awaits_reclaims_ = true;
  recalls_.clear();
  requests_.clear();
  breaks_.clear();
  line_.clear();
  due_.clear();
  due_order_.clear();
  leases_.clear();
  of_file_.clear();
  w_.regions.clear();
}

// What nobody protects any more, and no daemon has.
void Auditor::died(core::LeaseId lease) {
  if (unprotected_.erase(lease) != 0) forgive(lease);
}

void Auditor::excuse_alike(core::LeaseId before, core::LeaseId now) {
  for (auto* excused : {&lost_leases_, &misled_, &overrun_})
    if (excused->count(before) != 0) excused->insert(now);
}

// The same memory region under another number.
void Auditor::reclaimed(core::LeaseId before, core::LeaseId now, const core::FileKey& file) {
  excuse_alike(before, now);
  if (const auto end = smallest_end_.find(before); end != smallest_end_.end()) smallest_end_[now] = end->second;
  auto& written = written_[file];
  for (auto at = written.begin(); at != written.end();) {
    const auto next = std::next(at);
    if (at->first.second == before) {
      auto moved = written.extract(at);
      moved.key().second = now;
      written.insert(std::move(moved));
    }
    at = next;
  }
  if (unprotected_.erase(before) != 0) came_back_[now] = w_.clock.now();
}

void Auditor::successor(Time) {
  for (auto& [id, v] : leases_) v.adopted = false;
}

// P7: no lease is lost, but those that were on their way out.
void Auditor::taken_over() {
  std::vector<core::LeaseId> missing;
  for (const auto& [id, v] : leases_)
    if (!v.adopted && v.lease.id != 0) missing.push_back(id);
  for (const core::LeaseId id : missing) {
    const LeaseView& v = leases_[id];
    const auto r = w_.regions.find(id);  // its device is cut off: what it owes is P3's matter
    const bool ended = r == w_.regions.end() || !r->second->mr || !r->second->mr->alive;
    if (v.fence_began == core::kNever && !v.ending && !ended) complain("P7: the successor has lost lease " + std::to_string(id));
    over(id);
  }
  std::erase_if(breaks_, [this](const auto& b) {
    const auto& line = line_[b.second.ask.file];
    if (std::find(line.begin(), line.end(), b.first) != line.end()) return false;
    const core::SessionId owner = b.second.ask.owner;
    const bool gone = owner != 0 && w_.by_session.count(owner) == 0;
    if (w_.clock.now() < b.second.firm_until && !gone) complain("P5: the successor has lost freeze " + std::to_string(b.first));
    return true;
  });
}

}  // namespace mrlease::sim
