// SPDX-License-Identifier: Apache-2.0
// What a guard takes over from its predecessor in another process: groups, operations that are held, operations that pass.
#include <fcntl.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "daemon/guard/guard_core.h"
#include "daemon/sys/apart.h"
#include "proto/kernel_uapi.h"

namespace mrlease::guard {

namespace {

constexpr std::chrono::milliseconds kLook{1};
constexpr std::chrono::milliseconds kLookBound{1000};  // for tasks that are not seen asleep, all together

// Not by the guard's thread, but by one that can be lost as well.
TaskView look_apart(int tid) {
  return sys::apart(tid, [tid] { return look(tid); }).value_or(hidden_task(tid));
}

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
    std::erase_if(passing, [this, until](const Passing& p) {
      if (Clock::now() >= until) return false;
      const bool over = has_left(p.view, look_apart(p.view.tid));
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
    const bool held = std::any_of(orphans.begin(), orphans.end(), [&](const Orphan& o) { return o.tid == p.view.tid && (!o.seen() || o.file == p.file); });
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
void GuardCore::take_over(const Orphan& orphan, Clock::time_point look_until) {
  const sys::FanGroup* group = group_of(orphan.group);
  if (group == nullptr) return;
  sys::FanEvent event;
  event.mask = orphan.mask;
  event.tid = orphan.tid;
  event.has_range = orphan.has_range;
  event.offset = orphan.offset;
  event.count = orphan.count;
  event.fd.reset(orphan.number);
  if (!orphan.seen()) return desk_.take_over_unseen(group, orphan.group, std::move(event), look_until);
  // What is known of the file is asked of it.
  if (const WatchedFile* file = files_.find(orphan.file)) ::dup3(file->fd.get(), orphan.number, O_CLOEXEC);
  desk_.take_over(group, orphan.file, std::move(event));  // a file that is not leased (any more): allowed
}

std::string GuardCore::begin() {
  std::lock_guard lock(mutex_);
  if (begun_) return {};
  const auto orphans = journal_.orphans();
  const auto look_until = Clock::now() + kLookBound;
  for (const Orphan& orphan : orphans) take_over(orphan, look_until);
  begun_ = true;
  last_heartbeat_ = Clock::now().time_since_epoch().count();  // the loop waited for what passes, maybe for long, and goes round from here on
  wake();
  return std::to_string(orphans.size()) + " operations that the predecessor held are held on";
}

}  // namespace mrlease::guard
