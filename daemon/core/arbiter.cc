// SPDX-License-Identifier: Apache-2.0
#include "daemon/core/arbiter.h"

#include <cerrno>
#include <utility>

#include "daemon/core/state.h"

namespace mrlease::core {
namespace {

template <typename... F>
struct Match : F... {
  using F::operator()...;
};
template <typename... F>
Match(F...) -> Match<F...>;

}  // namespace

void Arbiter::State::report(const FileKey& file, LeaseId lease, BreakId id, std::string what) {
  out.push_back(effect::Report{file, lease, id, std::move(what)});
}

void Arbiter::State::refuse(RequestId request, int code, std::string message) {
  out.push_back(effect::Refused{request, code, std::move(message)});
}

const Terms& Arbiter::State::terms_of(const Lease& lease) const {
  return lease.terms == 0 || lease.terms > special.size() ? policy : special[lease.terms - 1];
}

Break* Arbiter::State::find_break(BreakId id) {
  const auto it = breaks.find(id);
  return it == breaks.end() ? nullptr : it->second.get();
}

void Arbiter::State::expire(const Timer& timer) {
  switch (timer.kind) {
    case Timer::Kind::Recall:
      return recall_expired(timer.id);
    case Timer::Kind::Work: {
      const WorkRecord& w = works.at(timer.id);
      report(w.file, w.lease, w.break_id, "file work overran its deadline; the break goes on without it");
      return work_over(timer.id, ETIMEDOUT);
    }
    case Timer::Kind::Fence:
      return fence_expired(timer.id);
    case Timer::Kind::Passing: {
      if (Break* b = find_break(timer.id)) passing_expired(*b);
      return;
    }
    case Timer::Kind::Hold:
      if (Break* b = find_break(timer.id)) want_thaw(*b, true);
      return;
    case Timer::Kind::Writeback:
      return writeback_due(timer.id);
  }
}

// Deadlines set on the way may be due at once (a policy of 0): go on until none is.
void Arbiter::State::advance() {
  do {
    while (const auto timer = timers.pop(now)) expire(*timer);
    settle();
  } while (timers.earliest() <= now && timers.earliest() != kNever);
}

Arbiter::Arbiter(Policy policy, RecallId last_recall) : state_(std::make_unique<State>(std::move(policy))) {
  state_->last_recall = last_recall;
}
Arbiter::~Arbiter() = default;

Effects Arbiter::step(const Event& event, Time now) {
  State& s = *state_;
  if (now > s.now) s.now = now;
  s.advance();
  std::visit(Match{[&](const event::RequestLease& e) { s.request_lease(e); },
                   [&](const event::ReleaseLease& e) { s.release(e); },
                   [&](const event::ExtendLease& e) { s.extend(e); },
                   [&](const event::SessionGone& e) { s.session_gone(e.session); },
                   [&](const event::RequestBreak& e) { s.request_break(e); }, [&](const event::Thaw& e) { s.thaw(e); },
                   [&](const event::RecallAnswered& e) { s.recall_answered(e); },
                   [&](const event::WorkDone& e) { s.work_done(e); },
                   [&](const event::FenceDone& e) { s.fence_done(e); },
                   [&](const event::OperationLeft& e) { s.operation_left(e); },
                   [&](const event::AdoptLease& e) { s.adopt_lease(e); },
                   [&](const event::AdoptFence& e) { s.adopt_fence(e); },
                   [&](const event::AdoptBreak& e) { s.adopt_break(e); },
                   [&](const event::AdoptPassing& e) { s.adopt_passing(e); }, [](const event::Tick&) {}},
             event);
  s.advance();
  s.done.clear();
  return std::exchange(s.out, {});
}

Time Arbiter::next_deadline() const { return state_->timers.earliest(); }

bool Arbiter::has_frozen_store(LeaseId id) const {
  const LeaseEntry* entry = std::as_const(state_->leases).find(id);
  return entry != nullptr && (entry->store_owed || state_->has_store(*entry));
}

const Lease* Arbiter::find(LeaseId id) const {
  const LeaseEntry* entry = std::as_const(state_->leases).find(id);
  return entry ? &entry->lease : nullptr;
}

const Terms& Arbiter::terms(LeaseId id) const {
  const Lease* lease = find(id);
  return lease ? state_->terms_of(*lease) : state_->policy;
}

std::size_t Arbiter::leases() const { return state_->leases.size(); }
std::size_t Arbiter::breaks() const { return state_->breaks.size(); }
void Arbiter::set_policy(Policy policy, std::vector<Terms> terms) {
  state_->policy = std::move(policy);
  state_->special = std::move(terms);
}

void Arbiter::set_terms(LeaseId id, std::uint16_t terms) {
  LeaseEntry* entry = state_->leases.find(id);
  if (entry == nullptr) return;
  entry->lease.terms = terms;
  state_->begin_writeback(entry->lease, true);
}

}  // namespace mrlease::core
