// SPDX-License-Identifier: Apache-2.0
// Breaks of one file are served in order, foreign operations before what sessions and the administrator ask for through
// the API: a system call that is held must not wait for a line that a client can make as long as it likes. A freeze that holds steps out of the line: reads run through it, and syncs that
// no frozen lease owes anything; what would change the file follows policy.freeze_conflict. A sync of a frozen lease
// waits for the thaw: until then what RDMA has written is not in the file, and durable is what the answer would claim.
#include <algorithm>
#include <cerrno>
#include <iterator>

#include "daemon/core/extents.h"
#include "daemon/core/state.h"

namespace mrlease::core {
namespace {

bool runs_through_freeze(BreakKind kind) { return kind == BreakKind::Read || kind == BreakKind::Sync; }

bool is_foreign(const event::RequestBreak& ask) { return ask.owner == 0 && has_operation(ask.kind); }

// Before a new foreign operation. Of those that are no longer queued the place means nothing: a sync that ran through a
// freeze may stand behind queued ones.
bool goes_first(const Break& b) { return b.phase == Phase::Queued && is_foreign(b.ask); }

}  // namespace

Extent Break::extent() const { return touched(ask.kind, ask.extent, ask.new_size); }

void Arbiter::State::request_break(const event::RequestBreak& ask) {
  if (find_break(ask.id)) {
    return report(ask.file, 0, ask.id, "a break with this id is under way already; the second request is ignored");
  }
  if (ask.owner != 0 && unanswered[ask.owner] >= kApiBreaksMax) {
    out.push_back(effect::BreakAnswered{ask.id, EDQUOT});
    out.push_back(effect::BreakDone{ask.id});
    return;
  }
  if (ask.owner != 0) ++unanswered[ask.owner];
  auto b = std::make_unique<Break>();
  b->ask = ask;
  FileQueue& queue = queues[ask.file];
  b->behind = !queue.breaks.empty();
  auto place = queue.breaks.end();
  if (is_foreign(ask)) {
    while (place != queue.breaks.begin() && !goes_first(**std::prev(place))) --place;
  }
  b->place = queue.breaks.insert(place, b.get());
  breaks.emplace(ask.id, std::move(b));
  marked.insert(ask.file);
}

void Arbiter::State::settle() {
  while (!marked.empty()) {
    const FileKey file = *marked.begin();
    marked.erase(marked.begin());
    const auto it = queues.find(file);
    if (it == queues.end()) continue;
    run_queue(it->second);
    serve_waiting(file);
    if (it->second.idle()) queues.erase(it);
  }
}

void Arbiter::State::run_queue(FileQueue& queue) {
  for (;;) {
    start_thaws(queue);
    if (!queue.active.empty()) return;
    if (restore_overdue(queue)) continue;
    Break* next = nullptr;
    Break* hopeless = nullptr;
    bool held_up = false;
    for (Break* b : queue.breaks) {
      if (b->phase != Phase::Queued) continue;
      // Behind one that waits for a thaw only those go on that no freeze stops: a backup reads on while somebody's
      // truncate waits for its end.
      if (held_up && !runs_through_freeze(b->ask.kind)) continue;
      if (in_overdue_hands(queue, *b)) {
        hopeless = b;
        break;
      }
      if (let_through(queue, *b)) {
        next = b;
        break;
      }
      held_up = true;
    }
    if (next) {
      start(*next);
    } else if (hopeless) {
      if (!hopeless->ask.periodic)
        report(hopeless->ask.file, 0, hopeless->ask.id,
               std::string("a ") + name(hopeless->ask.kind) +
                 " is refused: an allowed operation on its range does not end; ask again when it has");
      answer(*hopeless, EBUSY);
      finish(*hopeless);
    } else if (std::none_of(queue.frozen.begin(), queue.frozen.end(),
                            [this](Break* f) { return f->thaw_wanted && !kept_from_thawing(*f); })) {
      return;
    }
  }
}

bool Arbiter::State::let_through(FileQueue& queue, Break& b) {
  // Policy's sync is told to nobody: of leases that are frozen it wants nothing, and comes again.
  if (b.ask.kind == BreakKind::Read || b.ask.periodic) return true;
  bool through = true;
  for (Break* freeze : queue.frozen) {
    if (!conflicts_with(*freeze, b)) continue;
    if (policy.freeze_conflict == FreezeConflict::Thaw) want_thaw(*freeze, true);
    // Its hold is over, only the thaw has to wait: for something that may never end.
    if (freeze->thaw_wanted && has_operation(b.ask.kind) && kept_from_thawing(*freeze)) continue;
    if (policy.freeze_conflict == FreezeConflict::Thaw) {
      through = false;
    } else if (policy.freeze_conflict == FreezeConflict::Wait || b.ask.kind == BreakKind::Freeze ||
               b.ask.kind == BreakKind::Sync) {
      // Two freezes of one lease are never nested: whichever thaws first would end the other's stillness.
      through = false;
    } else if (!b.told) {
      b.told = true;
      report(b.ask.file, 0, b.ask.id, std::string("a ") + name(b.ask.kind) +
                                                " runs through a freeze, as policy allows");
    }
  }
  return through;
}

bool Arbiter::State::conflicts_with(const Break& freeze, const Break& b) {
  if (b.ask.kind != BreakKind::Sync && freeze.extent().overlaps(b.extent())) return true;
  // These concern a lease as a whole: the last flush of a revoked one writes all that it owes.
  if (b.ask.kind != BreakKind::Freeze && b.ask.kind != BreakKind::Revoke && b.ask.kind != BreakKind::Sync) return false;
  return std::any_of(freeze.parts.begin(), freeze.parts.end(), [&](const Part& p) {
    const LeaseEntry* e = leases.find(p.lease);
    return e && e->frozen_by == freeze.ask.id && e->lease.extent.overlaps(b.extent());
  });
}

void Arbiter::State::activate(Break& b, Phase phase) {
  b.phase = phase;
  std::vector<Break*>& active = queues.at(b.ask.file).active;
  if (std::find(active.begin(), active.end(), &b) == active.end()) active.push_back(&b);
}

void Arbiter::State::deactivate(Break& b) {
  FileQueue& queue = queues.at(b.ask.file);
  std::erase(queue.active, &b);
  std::erase(queue.frozen, &b);
}

void Arbiter::State::answer(Break& b, int code) {
  b.answered = true;
  answered_or_over(b);
  out.push_back(effect::BreakAnswered{b.ask.id, code});
}

void Arbiter::State::answered_or_over(const Break& b) {
  const auto it = unanswered.find(b.ask.owner);
  if (it != unanswered.end() && --it->second == 0) unanswered.erase(it);
}

void Arbiter::State::finish(Break& b) {
  if (!b.answered) answered_or_over(b);  // its session went while it was queued
  deactivate(b);
  if (b.ask.periodic) written(b);
  b.phase = Phase::Done;
  for (const RequestId request : std::exchange(b.thawers, {})) {
    out.push_back(effect::Thawed{b.ask.id, request, true});  // it never held
  }
  out.push_back(effect::BreakDone{b.ask.id});
  queues.at(b.ask.file).breaks.erase(b.place);
  const auto it = breaks.find(b.ask.id);
  done.push_back(std::move(it->second));
  breaks.erase(it);
  marked.insert(b.ask.file);
}

}  // namespace mrlease::core
