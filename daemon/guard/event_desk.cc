// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/event_desk.h"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <memory>

#include "daemon/guard/classify.h"
#include "daemon/guard/syscall_family.h"
#include "proto/kernel_uapi.h"

namespace mrlease::guard {
namespace {

// More than so many tasks are not remembered; the price is an operation reported as unheld that was let through.
constexpr std::size_t kPassedMax = 1024;

// A task that has queued its event sleeps a moment later, unless it gets no CPU. To assume the worst meanwhile would have a reader wait for a
// freeze's end. It is seen asleep soon after: of the time that it took by then a quarter later, 50 ms at most; some twenty looks in all, since
// there may be thousands.
// Not for longer: answers to others wake it, too (one queue for all, fs/notify/fanotify/fanotify.c), and then it wants a CPU again.
constexpr std::chrono::microseconds kEarlyStep{100}, kEarlyStepDoubled{5000}, kEarlyStepMost{50000};
constexpr std::chrono::milliseconds kEarlyBound{500};

// How long one of a task that cannot be looked at is taken to run, where it is not known either by whose changes it would show.
constexpr std::chrono::milliseconds kUnseenBound{500};

EventFile look_at_file(const sys::FanEvent& event) {
  struct statx st {};
  if (::statx(event.fd.get(), "", AT_EMPTY_PATH, STATX_SIZE | STATX_INO | STATX_MNT_ID, &st) != 0) return {};
  EventFile file{{::makedev(st.stx_dev_major, st.stx_dev_minor), st.stx_ino}, st.stx_size, {}};
  if (st.stx_mask & STATX_MNT_ID) file.mount = st.stx_mnt_id;
  return file;
}

// Where the file of the event is not known, nor is the mount that the task came through: then the inode's number has to do.
std::optional<FdFacts> facts_of(const std::optional<sys::FdInfo>& fd, const EventFile& event_file) {
  if (!fd || (event_file.known && !event_file.mount)) return {};
  const bool same_mount = !event_file.known || fd->mount == *event_file.mount;
  return FdFacts{same_mount && fd->inode == event_file.key.inode, fd->flags};
}

Verdict judge(const sys::FanEvent& event, const Sight& sight, const EventFile& file) {
  EventFacts facts;
  facts.open = event.mask & FAN_OPEN_PERM;
  facts.has_range = event.has_range;
  facts.offset = event.offset;
  facts.count = event.count;
  facts.page = ::sysconf(_SC_PAGESIZE);
  if (!facts.open) facts.file_size = file.size;
  return classify(facts, {sight.view.stat, sight.view.call}, facts_of(sight.from, file), facts_of(sight.to, file));
}

std::string describe(const Verdict& verdict, const TaskView& task) {
  const std::string comm = task.stat ? task.stat->comm : "?";
  std::string what = verdict.name + " by " + std::to_string(task.tid) + " (" + comm + ")";
  if (verdict.kind == core::BreakKind::Truncate) what += " to " + std::to_string(verdict.new_size) + " bytes";
  return what;
}

ForeignOp operation(const core::FileKey& file, const Verdict& verdict, const TaskView& task, int tid) {
  ForeignOp op;
  op.file = file;
  op.kind = verdict.kind;
  op.extent = verdict.extent;
  op.new_size = verdict.new_size;
  op.shortens = verdict.shortens;
  op.shorter_by = verdict.shorter_by;
  op.tid = tid;
  op.what = describe(verdict, task);
  op.maps = verdict.kind == core::BreakKind::Read && !verdict.doubtful && task.call && task.call->number == SYS_mmap;
  return op;
}

// For a bell that costs the task nothing when it rings early, and a little when it rings for nothing.
bool likely_held(const sys::FanEvent& event, const TaskView& view, const core::Needs& needs) {
  const bool told = view.call && !view.call->running;
  if (event.mask & FAN_OPEN_PERM) return told && opens_to_truncate(*view.call);
  if (needs.read) return true;
  if (!told) return false;
  const Family family = call_shape(*view.call).family;
  return family != Family::Read && (needs.write || family != Family::Write);
}

// Must not leave the task waiting, whatever the kernel thinks of the errno.
int respond(const sys::FanGroup& group, int event_fd, int deny_errno) {
  if (!deny_errno) return group.respond(event_fd, FAN_ALLOW);
  int error = group.respond(event_fd, FAN_DENY_ERRNO(deny_errno));
  // EINVAL: not a pre-content group, or not one of the errnos that the kernel accepts. The task then gets EPERM.
  return error == EINVAL ? group.respond(event_fd, FAN_DENY) : error;
}

// Where only a truncate has to wait: the kernel keeps device and file together in all else (odp). A plain task that reads or writes
// does that and no truncate, on whatever file, and so does what may run behind its call (a core dump, accounting when it exits; work
// of io_uring that is run by its submitter, of which truncates, fallocates and opens that cut are not: they are forced upon a worker,
// io_uring/truncate.c, sync.c, openclose.c). So neither its descriptor nor its state is looked at, which is what most of the time would
// go to. A truncate at a page's start has an empty range, which no read or write of a byte has (fsnotify_pre_content()).
bool may_not_matter(const WatchedFile& file, const sys::FanEvent& event) {
  if (file.needs != core::Needs{.truncate = true} || (event.mask & FAN_OPEN_PERM)) return false;
  return event.tid > 0 && event.has_range && event.count != 0;
}

bool is_running(const TaskView& view) { return view.call && view.call->running; }

void note_passed(WatchedFile* file, int tid) {
  if (file->passed.size() >= kPassedMax) file->passed.clear();
  file->passed.insert(tid);
}

}  // namespace

int EventDesk::read(const sys::FanGroup* from, Group group) {
  std::vector<sys::FanEvent> events;
  const int error = from->read(journal_->begin_read(group), &events);
  std::vector<EventFile> files;
  for (const auto& event : events) {
    files.push_back(look_at_file(event));
    journal_->was_read(event, files.back().key, group);
  }
  journal_->end_read();
  for (std::size_t i = 0; i < events.size(); i++) take({.group = from, .at = files[i], .event = std::move(events[i])});
  return error;
}

// The event's number is used again when its descriptor is closed: not before the journal has forgotten it.
void EventDesk::allow(const sys::FanGroup& group, const sys::FanEvent& event) {
  group.respond(event.fd.get(), FAN_ALLOW);
  journal_->answered(event.fd.get());
}

void EventDesk::take(Pending pending) {
  if (!pending.event.fd) return;  // a queue overflow, which unlimited queues do not have
  pending.serial = ++last_serial_;
  pending_.push_back(std::move(pending));
}

void EventDesk::take_over(const sys::FanGroup* group, const core::FileKey& key, sys::FanEvent event) {
  EventFile file = look_at_file(event);
  file.key = key;
  take({.group = group, .at = file, .event = std::move(event)});
}

void EventDesk::take_over_unseen(const sys::FanGroup* group, Group which, sys::FanEvent event, Clock::time_point look_until) {
  take({.group = group, .event = std::move(event), .unseen = which, .until = look_until});
}

std::optional<Look> EventDesk::next() {
  while (!pending_.empty()) {
    if (auto look = look_for(&pending_.front())) return look;
    allow(*pending_.front().group, pending_.front().event);
    pending_.pop_front();
  }
  return {};
}

// Nothing: it goes on at once.
std::optional<Look> EventDesk::look_for(Pending* pending) {
  const sys::FanEvent& event = pending->event;
  if (pending->unseen ? open_ : !concerned(*pending)) return {};
  if (!pending->depth) {
    const WatchedFile* file = pending->unseen ? nullptr : files_->find(pending->at.key);
    pending->depth = file && may_not_matter(*file, event) ? Depth::Plain : Depth::Call;
  }
  if (*pending->depth == Depth::Call && !pending->unseen) {
    if (sys::is_own_thread(event.tid)) return {};
    ledger_->came_again(pending->at.key, event.tid);
  }
  const bool fds = pending->unseen || !(event.mask & FAN_OPEN_PERM);
  return Look{pending->serial, event.tid, *pending->depth, pending->view, fds};
}

// The file, if somebody may want to know of the event.
WatchedFile* EventDesk::concerned(const Pending& pending) {
  WatchedFile* file = open_ ? nullptr : files_->find(pending.at.key);
  return file && file->needs != core::Needs{} ? file : nullptr;
}

void EventDesk::seen(const Look& look, Sight sight) {
  if (pending_.empty() || pending_.front().serial != look.serial) return;
  Pending& pending = pending_.front();
  WatchedFile* file = pending.unseen ? nullptr : concerned(pending);
  if (!pending.unseen && !file) return;  // next() lets it go
  if (look.depth == Depth::Plain) {
    if (!sight.plain || !may_not_matter(*file, pending.event)) {
      pending.depth = Depth::Call;
      return;
    }
    ledger_->came_again(file->key, look.tid);  // its last operation is over, nevertheless
    note_passed(file, look.tid);
    allow(*pending.group, pending.event);
    pending_.pop_front();
    return;
  }
  if (look.depth == Depth::Call && !sight.view.hidden) {
    if (file && !pending.early() && coming_ && likely_held(pending.event, sight.view, file->needs)) coming_();
    pending.view = std::move(sight.view);
    pending.depth = Depth::Rest;
    return;
  }
  Pending due = std::move(pending);
  pending_.pop_front();
  if (is_running(sight.view) && too_early(&due, Clock::now())) early_.push_back(std::move(due));
  else if (due.unseen) decide_unseen(std::move(due), sight);
  else decide(std::move(due), file, std::move(sight));
}

// It is looked at again some time later.
bool EventDesk::too_early(Pending* pending, Clock::time_point now) {
  if (pending->until == Clock::time_point{}) pending->until = now + kEarlyBound;
  if (now >= pending->until) return false;
  const auto longer = pending->step < kEarlyStepDoubled ? pending->step * 2 : pending->step * 5 / 4;
  pending->step = pending->early() ? std::min(longer, kEarlyStepMost) : kEarlyStep;
  pending->next_look = std::min(now + pending->step, pending->until);
  pending->depth.reset();
  pending->view = {};
  return true;
}

// With thousands of them, looking at each in every turn would be all that the guard does.
void EventDesk::poll(Clock::time_point now) {
  const auto due = std::stable_partition(early_.begin(), early_.end(), [&](const Pending& p) { return !open_ && now < p.next_look; });
  std::move(due, early_.end(), std::back_inserter(pending_));
  early_.erase(due, early_.end());
}

Clock::time_point EventDesk::next_due() const {
  auto due = Clock::time_point::max();
  for (const Pending& early : early_) due = std::min(due, early.next_look);
  return due;
}

void EventDesk::stand_open() {
  open_ = true;
  poll(Clock::now());
  next();  // lets all go
}

void EventDesk::decide(Pending pending, WatchedFile* file, Sight sight) {
  if (pending.early()) pending.at = look_at_file(pending.event);  // it may have another size by now
  auto verdict = wanted(judge(pending.event, sight, pending.at), file->needs);
  note_passed(file, pending.event.tid);
  if (!verdict) return allow(*pending.group, pending.event);
  ForeignOp op = operation(file->key, *verdict, sight.view, pending.event.tid);
  ledger_->hold(std::move(op), std::move(sight.view), let_go_of(pending.group, std::move(pending.event)));
}

Ledger::LetGo EventDesk::let_go_of(const sys::FanGroup* group, sys::FanEvent event) {
  return [group, held = std::make_shared<sys::Fd>(std::move(event.fd)), journal = journal_](int deny) {
    if (deny == 0) journal->allows(held->get());
    int error = respond(*group, held->get(), deny);
    journal->answered(held->get());
    held->reset();  // only now: the answer is matched by the number
    return error;
  };
}

// Most calls have their file in a register. Of the others it is known by its name only, which may have another meaning by now.
std::vector<WatchedFile*> EventDesk::may_be_of(Group which, const Sight& sight) const {
  std::vector<WatchedFile*> all, own;
  for (auto& [key, file] : files_->all()) {
    if (file.needs == core::Needs{} || (file.kind == Kind::Precontent) != (which == Group::Precontent)) continue;
    all.push_back(&file);
    if ((sight.from && sight.from->inode == key.inode) || (sight.to && sight.to->inode == key.inode)) own.push_back(&file);
  }
  return own.empty() ? all : own;  // none: it was exchanged already
}

// A client's own task may be the one that is held, in the very work that it was recalled for. It reads and writes there, of
// which no client has to get out of the way, so that it does not wait for itself.
void EventDesk::decide_unseen(Pending pending, const Sight& sight) {
  sys::FanEvent& event = pending.event;
  const TaskView& view = sight.view;
  const bool gone = event.tid != 0 && !view.stat && !view.hidden;
  std::vector<ForeignOp> perhaps;
  for (WatchedFile* file : gone ? std::vector<WatchedFile*>{} : may_be_of(*pending.unseen, sight)) {
    note_passed(file, event.tid);
    struct stat st {};
    const bool sized = ::fstat(file->fd.get(), &st) == 0;
    const EventFile at{file->key, sized ? static_cast<std::uint64_t>(st.st_size) : 0, {}, false};
    if (const auto verdict = wanted(judge(event, sight, at), file->needs)) perhaps.push_back(operation(file->key, *verdict, view, event.tid));
  }
  if (perhaps.empty()) return allow(*pending.group, event);
  ledger_->hold_any_of(std::move(perhaps), view, let_go_of(pending.group, std::move(event)), kUnseenBound);
}

}  // namespace mrlease::guard
