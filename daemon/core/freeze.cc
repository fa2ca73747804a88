// SPDX-License-Identifier: Apache-2.0
// A freeze that holds, and its thaw.
#include <algorithm>

#include "daemon/core/state.h"

namespace mrlease::core {

void Arbiter::State::hold(Break& b) {
  deactivate(b);
  b.phase = Phase::Holding;
  queues.at(b.ask.file).frozen.push_back(&b);
  const Time max = policy.freeze_hold_max;
  const Time hold = b.ask.hold == 0 ? max : std::min(b.ask.hold, max);
  timers.set({Timer::Kind::Hold, b.ask.id}, after(now, hold));
  marked.insert(b.ask.file);
}

void Arbiter::State::want_thaw(Break& b, bool expired) {
  if (b.thaw_wanted) return;
  b.thaw_wanted = true;
  b.expired = expired;
  marked.insert(b.ask.file);
}

void Arbiter::State::start_thaws(FileQueue& queue) {
  // A thaw puts pages back on the file: not while something that policy let through is still changing it.
  const bool changing = std::any_of(queue.active.begin(), queue.active.end(), [](const Break* b) {
    const bool freeze_thaws = b->ask.kind == BreakKind::Freeze && b->phase == Phase::Restoring;
    return b->ask.kind != BreakKind::Read && b->ask.kind != BreakKind::Sync && !freeze_thaws;
  });
  if (changing) return;
  const std::vector<Break*> frozen = queue.frozen;
  for (Break* b : frozen) {
    if (!b->thaw_wanted || kept_from_thawing(*b)) continue;
    timers.cancel({Timer::Kind::Hold, b->ask.id});
    std::erase(queue.frozen, b);
    restore(*b);
  }
}

void Arbiter::State::thaw(const event::Thaw& e) {
  Break* b = find_break(e.freeze);
  if (!b || b->ask.kind != BreakKind::Freeze || b->denied) {
    out.push_back(effect::Thawed{e.freeze, e.request, true});
    return;
  }
  b->thawers.push_back(e.request);
  want_thaw(*b, false);
}

void Arbiter::State::thawed(Break& b) {
  const std::vector<RequestId> thawers = std::exchange(b.thawers, {});
  if (thawers.empty()) out.push_back(effect::Thawed{b.ask.id, 0, true});
  for (const RequestId request : thawers) out.push_back(effect::Thawed{b.ask.id, request, b.expired});
}

}  // namespace mrlease::core
