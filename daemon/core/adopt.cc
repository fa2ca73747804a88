// SPDX-License-Identifier: Apache-2.0
// What a predecessor in the same office had granted and begun, taken over. It has asked and been obeyed: so a lease comes
// without a grant, and a break comes in its second half, with the leases that are out of the way already.
#include "daemon/core/state.h"

namespace mrlease::core {

void Arbiter::State::adopt_lease(const event::AdoptLease& e) {
  if (leases.find(e.lease.id)) return report(e.lease.file, e.lease.id, 0, "a lease with this id exists; not taken over twice");
  leases.insert(e.lease);
  begin_writeback(e.lease, true);
}

// What it was fenced for may have gone through meanwhile: to ask its client again would be to trust it.
void Arbiter::State::adopt_fence(const event::AdoptFence& e) {
  LeaseEntry* entry = leases.find(e.lease);
  if (!entry) return;
  const Terms& terms = terms_of(entry->lease);
  fence(*entry, {.fence_deadline = terms.fence_deadline, .on_timeout = terms.on_timeout}, "a fence had been begun before the restart");
}

Break* Arbiter::State::adopt(const event::RequestBreak& ask) {
  if (find_break(ask.id)) {
    report(ask.file, 0, ask.id, "a break with this id exists; not taken over twice");
    return nullptr;
  }
  auto b = std::make_unique<Break>();
  b->ask = ask;
  b->answered = b->adopted = true;
  FileQueue& queue = queues[ask.file];
  b->place = queue.breaks.insert(queue.breaks.end(), b.get());
  return breaks.emplace(ask.id, std::move(b)).first->second.get();
}

// Whatever it does: the whole file.
void Arbiter::State::adopt_passing(const event::AdoptPassing& e) {
  Break* b = adopt({e.id, e.file, BreakKind::Truncate, {}});
  if (b == nullptr) return;
  b->phase = Phase::Passing;
  queues.at(e.file).overdue.push_back(b);
}

void Arbiter::State::adopt_break(const event::AdoptBreak& e) {
  Break* adopted = adopt({e.id, e.file, e.kind, e.extent, e.file_size, e.hold, e.owner});
  if (adopted == nullptr) return;
  Break& b = *adopted;
  b.left = has_operation(e.kind);  // the caller has seen to it; the size that a freeze is taken over with is old by its thaw
  b.size = e.file_size;
  activate(b, Phase::Complying);
  for (const auto& [id, extent] : e.parts) {
    LeaseEntry* entry = leases.find(id);
    if (!entry) continue;
    const Row wanted = row_for(kind_for(e.kind, true, entry->lease), entry->lease, false);
    if (wanted.after.nothing()) continue;
    if (wanted.after.action == Action::Settle && entry->frozen_by != 0) {  // it would change a file that stands still
      owe_after(*entry, {Action::Settle, e.kind, extent, e.file_size});
      continue;
    }
    add_part(b, *entry, wanted, extent);
    b.parts.back().step = Step::Complied;
  }
  if (e.kind == BreakKind::Freeze && e.hold > 0) return hold(b);
  restore(b);
}

}  // namespace mrlease::core
