// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/ledger.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>
#include <vector>

#include "daemon/guard/syscall_family.h"

namespace mrlease::guard {
namespace {

// Who has opened and changed a file mostly closes it soon. Who does not is not waited for: leases are of use to somebody.
constexpr std::chrono::milliseconds kSettleBound{100};

// The upper half belongs to guards, so that a caller's own break ids never meet them.
std::atomic<core::BreakId> next_id{core::BreakId{1} << 63};

}  // namespace

core::BreakId Ledger::hold(ForeignOp op, TaskView view, LetGo let_go, Clock::duration bound) {
  return add(std::move(op), std::move(view), std::make_shared<Held>(Held{std::move(let_go), bound}));
}

void Ledger::hold_any_of(std::vector<ForeignOp> ops, const TaskView& view, LetGo let_go, Clock::duration bound) {
  const auto held = std::make_shared<Held>(Held{std::move(let_go), bound, ops.size()});
  for (ForeignOp& op : ops) {
    op.file_known = ops.size() == 1;
    add(std::move(op), view, held);
  }
}

core::BreakId Ledger::add(ForeignOp op, TaskView view, std::shared_ptr<Held> held) {
  op.id = next_id++;
  Entry& entry = entries_[op.id];
  entry.op = op;
  entry.view = std::move(view);
  entry.held = std::move(held);
  entry.next_look = now_() + look_interval(0);
  const core::BreakId id = op.id;
  outbox_->add([op = std::move(op)](const Listener& listener) { listener.held(op); });
  return id;
}

core::BreakId Ledger::adopt(const Passing& passing) {
  const core::BreakId id = next_id++;
  Entry& entry = entries_[id];
  entry.op.id = id;
  entry.op.file = passing.file;
  entry.op.kind = core::BreakKind::Truncate;
  entry.op.tid = passing.view.tid;
  entry.view = passing.view;
  entry.held = std::make_shared<Held>(Held{.unanswered = 0});
  entry.answered = true;
  entry.passing = passing.slot;
  entry.next_look = now_() + look_interval(0);
  return id;
}

void Ledger::answer(core::BreakId id, int deny_errno, bool watch_leaving) {
  auto at = entries_.find(id);
  if (at == entries_.end() || at->second.answered) return;
  Entry& entry = at->second;
  // Before it goes on: a successor must not take it for over.
  if (watch_leaving && journal_ != nullptr) entry.passing = journal_->passes(entry.op.file, entry.view);
  const std::shared_ptr<Held> held = entry.held;
  if (deny_errno != 0) held->deny = deny_errno;
  entry.answered = true;
  const int error = --held->unanswered == 0 ? let_go(*held) : 0;
  if (!watch_leaving) {
    entries_.erase(at);
  } else if ((error == 0 && held->deny != 0) || error == ENOENT) {
    leave(at, true);  // it failed, or its task was killed: nothing will happen any more
  } else if (entry.view.tid) {
    entry.looks = 0;
    entry.next_look = now_() + look_interval(0);
  }
}

int Ledger::let_go(Held& held) {
  const int error = std::exchange(held.let_go, {})(held.deny);
  if (held.bound == Clock::duration{}) return error;
  const auto until = now_() + held.bound;
  for (auto& [id, entry] : entries_)
    if (entry.held.get() == &held && !entry.view.tid) entry.until = until;
  return error;
}

void Ledger::allow_all() {
  std::vector<core::BreakId> held;
  for (const auto& [id, entry] : entries_)
    if (!entry.answered) held.push_back(id);
  for (const core::BreakId id : held) answer(id, 0, true);  // the entry may go with it
}

Ledger::Entries::iterator Ledger::leave(Entries::iterator entry, bool sure) {
  Entry& e = entry->second;
  e.over = sure;
  e.looks = 0;
  e.until = now_() + kSettleBound;
  return settle(entry);
}

Ledger::Entries::iterator Ledger::settle(Entries::iterator entry) {
  Entry& e = entry->second;
  const auto now = now_();
  if (settled_ && e.op.kind != core::BreakKind::Read && now < *e.until && !settled_(e.op.file)) {
    e.next_look = std::min(now + look_interval(e.looks++), *e.until);
    return std::next(entry);
  }
  if (journal_ != nullptr) journal_->left(e.passing);
  outbox_->add([id = entry->first, sure = *e.over](const Listener& listener) { listener.left(id, sure); });
  return entries_.erase(entry);
}

bool Ledger::modified(const core::FileKey& file, int tid) {
  bool explained = false;
  for (auto at = entries_.begin(); at != entries_.end();) {
    const Entry& entry = at->second;
    bool match = entry.passes() && entry.op.file == file && (entry.view.tid == tid || entry.op.tid == 0);
    explained = explained || match;
    at = match ? leave(at, true) : std::next(at);
  }
  return explained;
}

void Ledger::opened(const core::FileKey& file, int tid) {
  for (auto at = entries_.begin(); at != entries_.end();) {
    Entry& entry = at->second;
    if (!entry.passes() || entry.op.file != file || entry.op.tid != 0 || entry.view.tid != 0) {
      ++at;
    } else if (entry.op.kind == core::BreakKind::Read) {
      at = leave(at, true);
    } else {
      entry.view.tid = tid;
      entry.opened = true;
      entry.next_look = now_();
      ++at;
    }
  }
}

void Ledger::came_again(const core::FileKey& file, int tid) {
  for (auto at = entries_.begin(); at != entries_.end();) {
    const Entry& entry = at->second;
    bool match = entry.passes() && entry.op.tid == tid && (entry.op.file == file || !entry.op.file_known);
    at = match ? leave(at, true) : std::next(at);
  }
}

std::vector<Ledger::Watched> Ledger::due(Clock::time_point now) const {
  std::vector<Watched> out;
  for (const auto& [id, entry] : entries_)
    if (entry.looked_at() && entry.next_look <= now) out.push_back({id, TaskView{.tid = entry.view.tid}});
  return out;
}

bool Ledger::has_left(Entry* entry, TaskView view) const {
  const bool told = view.call && !view.call->running;
  if (!entry->opened) {
    if (guard::has_left(entry->view, view)) return true;
    // It was never seen in the call that it was held in. It may be there still: from here on.
    const bool unseen = !entry->view.stat || !entry->view.call || entry->view.call->running;
    if (unseen && view.call && (told || !entry->view.stat)) entry->view = std::move(view);
    return false;
  }
  if (view.hidden) return false;
  // FAN_OPEN may come before O_TRUNC is carried out: then the end of the call is what counts.
  if (!view.stat || (told && call_shape(*view.call).family != Family::Open)) return true;
  entry->opened = false;
  entry->view = std::move(view);
  return false;
}

void Ledger::poll(Clock::time_point now, std::vector<Watched> seen, const std::function<void()>& read_notices) {
  std::vector<core::BreakId> over;
  for (auto& [id, view] : seen) {
    const auto at = entries_.find(id);
    if (at == entries_.end() || !at->second.looked_at() || at->second.view.tid != view.tid) continue;
    Entry& entry = at->second;
    entry.next_look = now + look_interval(entry.opened && !view.hidden ? 0 : ++entry.looks);
    if (entry.early()) {
      if (!view.hidden) entry.view = std::move(view);
    } else if (has_left(&entry, std::move(view))) {
      over.push_back(id);
    }
  }
  for (auto at = entries_.begin(); at != entries_.end();) {
    const Entry& entry = at->second;
    if (entry.over) at = entry.next_look <= now ? settle(at) : std::next(at);
    else at = entry.until && *entry.until <= now ? leave(at, false) : std::next(at);
  }
  if (over.empty()) return;
  read_notices();
  for (core::BreakId id : over)
    if (auto at = entries_.find(id); at != entries_.end() && at->second.passes()) leave(at, true);
}

Clock::time_point Ledger::next_due() const {
  auto due = Clock::time_point::max();
  for (const auto& [id, entry] : entries_) {
    if (entry.looked_at() || entry.over) due = std::min(due, entry.next_look);
    if (!entry.passes() && !entry.over) continue;
    if (entry.until) due = std::min(due, *entry.until);
  }
  return due;
}

bool Ledger::any_held() const {
  return std::any_of(entries_.begin(), entries_.end(), [](const auto& e) { return !e.second.answered; });
}

bool Ledger::busy(const core::FileKey& file) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const auto& e) { return e.second.op.file == file && !e.second.over; });
}

}  // namespace mrlease::guard
