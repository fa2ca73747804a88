// SPDX-License-Identifier: Apache-2.0
// What a guard takes over from its predecessor in another process: groups, operations that are held, operations that pass.
#include <fcntl.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "daemon/guard/guard_core.h"
#include "proto/kernel_uapi.h"

namespace mrlease::guard {

namespace {

constexpr std::chrono::milliseconds kLook{1};
// How long an operation of which nothing is known is taken to run: nobody can be looked at.
constexpr std::chrono::milliseconds kUnknownBound{500};

}  // namespace

std::vector<std::pair<std::string, int>> GuardCore::groups() const {
  std::vector<std::pair<std::string, int>> out{{"notices", notices_.fd()}, {"perm", leases_.perm().fd()}};
  if (precontent_) {
    out.emplace_back("arming", precontent_->arming().fd());
    out.emplace_back("events", precontent_->events().fd());
  }
  std::erase_if(out, [](const auto& each) { return each.second < 0; });
  return out;
}

// The predecessor was killed while it let an operation go: whether the kernel was told, nobody can see. The leases are out of
// its way, so it is told again, and what was held until now passes like the others.
void GuardCore::finish_answers() {
  for (const Orphan& orphan : journal_.orphans()) {
    if (!orphan.allowed) continue;
    const sys::Fd reserved(orphan.number);
    if (const sys::FanGroup* group = group_of(orphan.group)) group->respond(orphan.number, FAN_ALLOW);
    journal_.answered(orphan.number);
  }
}

std::vector<Overdue> GuardCore::await_passing(std::chrono::milliseconds bound) {
  std::unique_lock lock(mutex_);
  finish_answers();
  auto passing = journal_.passing();
  for (const auto until = Clock::now() + bound;;) {
    std::erase_if(passing, [this](const Passing& p) {
      const bool over = has_left(p.view, look(p.view.tid));
      if (over) journal_.left(p.slot);
      return over;
    });
    if (passing.empty() || Clock::now() >= until) break;
    lock.unlock();
    std::this_thread::sleep_for(kLook);
    lock.lock();
  }
  // The predecessor was killed after its note that they pass, and before it let them go: those are held.
  const auto orphans = journal_.orphans();
  std::vector<Overdue> overdue;
  for (const Passing& p : passing) {
    const bool held = std::any_of(orphans.begin(), orphans.end(), [&](const Orphan& o) { return o.tid == p.view.tid && o.file == p.file; });
    if (held) journal_.left(p.slot);
    else overdue.push_back({ledger_.adopt(p), p.file});  // its note stays, for the next successor
  }
  return overdue;
}

const sys::FanGroup* GuardCore::group_of(Group group) const {
  if (group == Group::Perm) return &leases_.perm();
  return precontent_ ? &precontent_->events() : nullptr;
}

// Its number is reserved: whoever started us has put a descriptor there.
void GuardCore::take_over(const Orphan& orphan) {
  const sys::FanGroup* group = group_of(orphan.group);
  if (group == nullptr) return;
  WatchedFile* file = files_.find(orphan.file);
  sys::FanEvent event;
  event.mask = orphan.mask;
  event.tid = orphan.tid;
  event.has_range = orphan.has_range;
  event.offset = orphan.offset;
  event.count = orphan.count;
  if (file != nullptr) ::dup3(file->fd.get(), orphan.number, O_CLOEXEC);  // what is known of the file is asked of it
  event.fd.reset(orphan.number);
  desk_.take_over(group, orphan.file, std::move(event));  // a file that is not leased (any more): allowed
}

// What the predecessor had read and not noted: numbers of which there is no note now are allowed.
void GuardCore::sweep(int end) const {
  std::vector<bool> noted(Journal::kNumbersMax);
  for (const Orphan& each : journal_.orphans()) noted[each.number] = true;
  for (int number = 0; number < end; number++) {
    if (noted[number]) continue;
    if (precontent_) precontent_->events().respond(number, FAN_ALLOW);
    if (leases_.perm()) leases_.perm().respond(number, FAN_ALLOW);
  }
}

// An operation may be held of which nobody knows the file, nor what it is. So every lease gets out of the way of the worst
// that it can be, and it goes on when all have. A new event must not get its number before. Where those that it may have are taken, events are
// read meanwhile, so that neither others wait for it nor the daemon for itself, which works on files of which events come.
void GuardCore::begin_unknown() {
  struct Unknown {
    std::vector<core::BreakId> ids;
    std::size_t unanswered = 0;
  };
  auto unknown = std::make_shared<Unknown>();
  int end = Journal::kNumbersMax;
  if (!unnoted_.empty()) {
    const auto by_number = [](const sys::Fd& a, const sys::Fd& b) { return a.get() < b.get(); };
    end = std::max_element(unnoted_.begin(), unnoted_.end(), by_number)->get() + 1;
    journal_.begin_unnoted(end, static_cast<int>(unnoted_.size()));
    begun_ = true;
  }
  const auto let_go = [this, end, unknown] {
    sweep(end);
    for (const core::BreakId id : unknown->ids) ledger_.goes_on(id, kUnknownBound);
    unnoted_.clear();
    journal_.end_unnoted(sys::lowest_free());
    begun_ = true;
    wake();
  };
  for (const auto& [key, file] : files_.all()) {
    if (file.needs == core::Needs{}) continue;
    ForeignOp op;
    op.file = key;
    op.kind = core::BreakKind::Truncate;
    op.unknown = true;
    op.what = "an operation that the predecessor had read and not noted, if there is one";
    ++unknown->unanswered;
    unknown->ids.push_back(ledger_.hold(std::move(op), TaskView{}, [this, unknown, let_go](int deny) {
      // The last one's own entry is not answered yet: its end is set by whoever looks after timers.
      if (--unknown->unanswered == 0) outbox_.add([this, let_go](const Listener&) {
        std::lock_guard lock(mutex_);
        let_go();
      });
      return deny ? ENOTSUP : 0;
    }));
  }
  if (unknown->unanswered == 0) let_go();
}

std::string GuardCore::begin() {
  std::lock_guard lock(mutex_);
  if (begun_) return {};
  needs_known_ = true;
  const auto orphans = journal_.orphans();
  for (const Orphan& orphan : orphans) take_over(orphan);
  std::string text = std::to_string(orphans.size()) + " operations that the predecessor held are held on";
  if (journal_.was_reading()) {
    begin_unknown();
    text += "; it was killed while it read: every lease gets out of the way once";
  } else {
    begun_ = true;
  }
  wake();
  return text;
}

}  // namespace mrlease::guard
