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
#include <memory>
#include <thread>

#include "daemon/guard/classify.h"
#include "daemon/guard/syscall_family.h"
#include "proto/kernel_uapi.h"

namespace mrlease::guard {
namespace {

// More than so many tasks are not remembered; the price is an operation reported as unheld that was let through.
constexpr std::size_t kPassedMax = 1024;

// A task that has queued its event sleeps a moment later, unless the machine is busy: then the worst is assumed.
constexpr std::chrono::microseconds kEarlyStep{100}, kEarlyStepMost{5000};
constexpr std::chrono::milliseconds kEarlyBound{50};

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
std::optional<FdFacts> fd_facts(int tid, int fd, const EventFile& event_file) {
  if (fd < 0 || (event_file.known && !event_file.mount)) return {};
  auto info = sys::read_fdinfo(tid, fd);
  if (!info) return {};
  const bool same_mount = !event_file.known || info->mount == *event_file.mount;
  return FdFacts{same_mount && info->inode == event_file.key.inode, info->flags};
}

Verdict judge(const sys::FanEvent& event, const TaskView& view, const EventFile& file) {
  EventFacts facts;
  facts.open = event.mask & FAN_OPEN_PERM;
  facts.has_range = event.has_range;
  facts.offset = event.offset;
  facts.count = event.count;
  facts.page = ::sysconf(_SC_PAGESIZE);
  if (!facts.open) facts.file_size = file.size;
  TaskFacts task{view.stat, view.call};
  CallFds fds;
  if (!facts.open && trusted(task)) fds = call_fds(*task.call);
  return classify(facts, task, fd_facts(event.tid, fds.from, file), fd_facts(event.tid, fds.to, file));
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

// Whoever is held is woken with all others, to see whether it is its own answer that has come, and sleeps again.
TaskView look_asleep(int tid, Clock::time_point until) {
  TaskView view = look(tid);
  for (; view.call && view.call->running && Clock::now() < until; view = look(tid)) std::this_thread::sleep_for(kEarlyStep);
  return view;
}

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
  for (std::size_t i = 0; i < events.size(); i++) take(from, files[i], std::move(events[i]));
  return error;
}

// The event's number is used again when its descriptor is closed: not before the journal has forgotten it.
void EventDesk::allow(const sys::FanGroup& group, const sys::FanEvent& event) {
  group.respond(event.fd.get(), FAN_ALLOW);
  journal_->answered(event.fd.get());
}

// Where only a truncate has to wait: the kernel keeps device and file together in all else (odp). A plain task that reads or writes
// does that and no truncate, on whatever file, and so does what may run behind its call (a core dump, accounting when it exits; work
// of io_uring that is run by its submitter, of which truncates, fallocates and opens that cut are not: they are forced upon a worker,
// io_uring/truncate.c, sync.c, openclose.c). So neither its descriptor nor its state is looked at, which is what most of the time would
// go to. A truncate at a page's start has an empty range, which no read or write of a byte has (fsnotify_pre_content()).
bool EventDesk::cannot_matter(const WatchedFile& file, const sys::FanEvent& event) {
  if (file.needs != core::Needs{.truncate = true} || (event.mask & FAN_OPEN_PERM)) return false;
  if (event.tid <= 0 || !event.has_range || event.count == 0) return false;
  const auto call = plain_.call_of(event.tid);
  return call && reads_or_writes(*call);
}

// The file, if somebody may want to know of the event.
WatchedFile* EventDesk::concerned(const core::FileKey& key, const sys::FanEvent& event) {
  WatchedFile* file = open_ ? nullptr : files_->find(key);
  if (!file || file->needs == core::Needs{}) return nullptr;
  if (cannot_matter(*file, event)) {
    ledger_->came_again(key, event.tid);  // its last operation is over, nevertheless
    note_passed(file, event.tid);
    return nullptr;
  }
  return sys::is_own_thread(event.tid) ? nullptr : file;
}

void EventDesk::take_over(const sys::FanGroup* group, const core::FileKey& key, sys::FanEvent event) {
  EventFile file = look_at_file(event);
  file.key = key;
  take(group, file, std::move(event));
}

void EventDesk::take(const sys::FanGroup* group, const EventFile& at, sys::FanEvent event) {
  if (!event.fd) return;  // a queue overflow, which unlimited queues do not have
  WatchedFile* file = concerned(at.key, event);
  if (!file) {
    allow(*group, event);
    return;
  }
  ledger_->came_again(file->key, event.tid);
  TaskView view = look_at_call(event.tid);
  if (coming_ && likely_held(event, view, file->needs)) coming_();
  complete(&view);
  if (view.call && view.call->running) {
    auto now = Clock::now();
    early_.push_back({group, at.key, std::move(event), kEarlyStep, now + kEarlyStep, now + kEarlyBound});
  } else {
    decide(group, std::move(event), at, file, std::move(view));
  }
}

void EventDesk::poll(Clock::time_point now) {
  for (std::size_t i = 0; i < early_.size();) {
    Early& early = early_[i];
    // With thousands of them, looking at each in every turn would be all that the guard does.
    if (!open_ && now < early.next_look) {
      ++i;
      continue;
    }
    WatchedFile* file = concerned(early.file, early.event);
    TaskView view = file ? look(early.event.tid) : TaskView{};
    if (file && view.call && view.call->running && now < early.until) {
      early.step = std::min(early.step * 2, kEarlyStepMost);
      early.next_look = now + early.step;
      ++i;
      continue;
    }
    Early due = std::move(early);
    early_.erase(early_.begin() + i);
    if (!file) {
      allow(*due.group, due.event);
      continue;
    }
    const EventFile at = look_at_file(due.event);  // it may have another size by now
    decide(due.group, std::move(due.event), at, file, std::move(view));
  }
}

Clock::time_point EventDesk::next_due() const {
  auto due = Clock::time_point::max();
  for (const Early& early : early_) due = std::min(due, early.next_look);
  return due;
}

void EventDesk::stand_open() {
  open_ = true;
  poll(Clock::now());
}

void EventDesk::decide(const sys::FanGroup* group, sys::FanEvent event, const EventFile& at, WatchedFile* file, TaskView view) {
  auto verdict = wanted(judge(event, view, at), file->needs);
  note_passed(file, event.tid);
  if (!verdict) {
    allow(*group, event);
    return;
  }
  ForeignOp op = operation(file->key, *verdict, view, event.tid);
  ledger_->hold(std::move(op), std::move(view), let_go_of(group, std::move(event)));
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
std::vector<WatchedFile*> EventDesk::may_be_of(Group which, const TaskView& view) const {
  std::vector<WatchedFile*> all, own;
  std::optional<sys::FdInfo> from, to;
  if (trusted({view.stat, view.call})) {
    const CallFds fds = call_fds(*view.call);
    from = sys::read_fdinfo(view.tid, fds.from);
    to = sys::read_fdinfo(view.tid, fds.to);
  }
  for (auto& [key, file] : files_->all()) {
    if (file.needs == core::Needs{} || (file.kind == Kind::Precontent) != (which == Group::Precontent)) continue;
    all.push_back(&file);
    if ((from && from->inode == key.inode) || (to && to->inode == key.inode)) own.push_back(&file);
  }
  return own.empty() ? all : own;  // none: it was exchanged already
}

// A client's own task may be the one that is held, in the very work that it was recalled for. It reads and writes there, of
// which no client has to get out of the way, so that it does not wait for itself.
void EventDesk::take_over_unseen(const sys::FanGroup* group, Group which, sys::FanEvent event, Clock::time_point look_until) {
  const TaskView view = look_asleep(event.tid, look_until);
  const bool gone = event.tid != 0 && !view.stat;
  std::vector<ForeignOp> perhaps;
  for (WatchedFile* file : open_ || gone ? std::vector<WatchedFile*>{} : may_be_of(which, view)) {
    note_passed(file, event.tid);
    struct stat st {};
    const bool sized = ::fstat(file->fd.get(), &st) == 0;
    const EventFile at{file->key, sized ? static_cast<std::uint64_t>(st.st_size) : 0, {}, false};
    if (const auto verdict = wanted(judge(event, view, at), file->needs)) perhaps.push_back(operation(file->key, *verdict, view, event.tid));
  }
  if (perhaps.empty()) return allow(*group, event);
  ledger_->hold_any_of(std::move(perhaps), view, let_go_of(group, std::move(event)), kUnseenBound);
}

}  // namespace mrlease::guard
