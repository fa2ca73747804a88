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
// Numbers are the lowest free ones: an event that the predecessor could not note any more has one not far above.
constexpr int kBeyond = 1024;

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

std::vector<core::FileKey> GuardCore::await_passing(std::chrono::milliseconds bound) {
  auto passing = journal_.passing();
  for (const auto until = Clock::now() + bound;;) {
    std::erase_if(passing, [](const Passing& p) { return has_left(p.view, look(p.view.tid)); });
    if (passing.empty() || Clock::now() >= until) break;
    std::this_thread::sleep_for(kLook);
  }
  journal_.forget_passing();
  // The predecessor was killed between its answer and its note of it, or before the answer: those are held, or will have
  // left by the time that somebody asks.
  const auto orphans = journal_.orphans();
  std::vector<core::FileKey> files;
  for (const Passing& p : passing) {
    const bool held = std::any_of(orphans.begin(), orphans.end(), [&](const Orphan& o) { return o.tid == p.view.tid && o.file == p.file; });
    if (!held) files.push_back(p.file);
  }
  return files;
}

const sys::FanGroup* GuardCore::group_of(Group group) const {
  if (group == Group::Perm) return &leases_.perm();
  return precontent_ ? &precontent_->events() : nullptr;
}

// Its number is reserved: whoever started us has put a descriptor there. False: nobody knows of which file it is.
bool GuardCore::take_over(const Orphan& orphan) {
  const sys::FanGroup* group = group_of(orphan.group);
  if (group == nullptr) return false;
  WatchedFile* file = files_.find(orphan.file);
  sys::FanEvent event;
  event.mask = orphan.mask;
  event.tid = orphan.tid;
  event.has_range = orphan.has_range;
  event.offset = orphan.offset;
  event.count = orphan.count;
  if (orphan.file == core::FileKey{}) return false;
  if (file != nullptr) ::dup3(file->fd.get(), orphan.number, O_CLOEXEC);  // what is known of the file is asked of it
  event.fd.reset(orphan.number);
  desk_.take(group, std::move(event));  // a file that is not leased (any more): allowed
  return true;
}

// What the predecessor had read and not noted: of which file nobody knows. It is refused rather than let through.
int GuardCore::sweep(const std::vector<Orphan>& known) const {
  int found = 0;
  const int last = journal_.highest_number() + kBeyond;
  for (int number = 0; number <= last; number++) {
    const bool is_known = std::any_of(known.begin(), known.end(), [&](const Orphan& o) { return o.number == number && o.file != core::FileKey{}; });
    if (is_known) continue;
    if (precontent_ && precontent_->events().respond(number, FAN_DENY_ERRNO(EBUSY)) == 0) found++;
    if (leases_.perm() && leases_.perm().respond(number, FAN_DENY) == 0) found++;
  }
  return found;
}

std::string GuardCore::begin() {
  std::lock_guard lock(mutex_);
  if (begun_) return {};
  const auto orphans = journal_.orphans();
  const int refused = sweep(orphans);  // before the first read: a new event may get an orphan's number
  int held = 0;
  for (const Orphan& orphan : orphans) {
    held += take_over(orphan);
    if (orphan.file == core::FileKey{}) journal_.answered(orphan.number);
  }
  begun_ = true;
  wake();
  std::string text = std::to_string(held) + " operations that the predecessor held are held on";
  if (refused > 0) text += ", " + std::to_string(refused) + " of unknown files were refused with EBUSY";
  return text;
}

}  // namespace mrlease::guard
