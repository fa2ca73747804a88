// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/lease_engine.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

namespace mrlease::guard {
namespace {

using core::BreakKind;
using std::chrono::milliseconds;

int break_signal() { return SIGRTMIN + 3; }

// After the answer the breaker should show up as FAN_OPEN or FAN_MODIFY; a failing one does not.
constexpr milliseconds kLeaveBound{500};
// For all files of a successor together: nobody is served meanwhile.
constexpr milliseconds kPatience{100}, kTryAgain{1};
// Who had passed a mark that was taken away has queued its event by then; and who is about to break a lease does.
constexpr milliseconds kOnTheWay{5000}, kAboutTo{20};
// Files of which a tick sees whether somebody waits for their leases: so many, or more, so that all have been looked at after so many ticks
// (10 s; the kernel waits for 45). And at most so many whose leases are taken again.
constexpr std::size_t kLooks = 1000, kCycle = 40, kRetakes = 500;

milliseconds retry_interval(unsigned tries) {
  constexpr int kSteps[] = {1, 5, 20, 100, 500, 2000};
  return milliseconds(kSteps[std::min<std::size_t>(tries, std::size(kSteps) - 1)]);
}

// Somebody waits for it in the kernel, which has not let him go by itself.
bool under_way(const LeaseState& lease) { return lease.phase == LeaseState::Phase::Breaking && Clock::now() < lease.forced; }

}  // namespace

LeaseEngine::LeaseEngine(WatchedFiles* files, Ledger* ledger, EventDesk* desk, Outbox* outbox, bool (*looks)(int fd))
    : files_(files), ledger_(ledger), desk_(desk), outbox_(outbox), looks_(looks), taker_(break_signal()), break_seconds_(sys::lease_break_time()) {}

void LeaseEngine::open(sys::Fd perm, bool follows) {
  if (follows) patience_ = kPatience;
  // A kernel without permission events still has leases; watch() says what is missing.
  if (perm) {
    perm_.adopt(std::move(perm));
    inherited_ = perm_.marked_inodes();
  } else {
    perm_.open(FAN_CLASS_CONTENT | FAN_REPORT_TID);
  }
}

void LeaseEngine::watch(WatchedFile* file) {
  by_fd_[file->fd.get()] = file->key;
  // Whom a predecessor let go may be about to leave: its leases come back when this one is held.
  bool held = take_first(file);
  for (; !held && errno == EAGAIN && patience_ > Clock::duration{}; patience_ -= kTryAgain) {
    std::this_thread::sleep_for(kTryAgain);
    held = take_first(file);
  }
  if (held) {
    file->kind = Kind::Lease;
    file->text = "lease: holds truncate(2) and opens by others for at most " + std::to_string(break_seconds_) +
                 " s (fs.lease-break-time); while others have it open, holds O_TRUNC opens and observes the rest";
    return;
  }
  int error = errno;
  file->lease.retry = error == EAGAIN;
  file->lease.perm_mark = false;  // a predecessor's may be that of another file with the same number
  int perm_error = mark_perm(file, true);
  file->kind = file->lease.retry && !perm_error ? Kind::Lease : Kind::Observe;
  file->text = file->lease.retry ? "lease: others have the file open, so until they close it "
                                 : "observe: no lease (errno " + std::to_string(error) + "); ";
  file->text += perm_error ? "nothing is held (errno " + std::to_string(perm_error) + "), changes are only observed"
                           : "O_TRUNC opens are held, other changes are only observed";
  if (file->lease.retry) schedule(file, Clock::now() + retry_interval(3));
}

void LeaseEngine::unwatch(WatchedFile* file) {
  unschedule(file);
  by_fd_.erase(file->fd.get());
  coming_.erase(file->key);
  mark_perm(file, false);
  if (file->lease.phase != LeaseState::Phase::Shared) sys::drop_lease(file->fd.get());
}

int LeaseEngine::mark_perm(WatchedFile* file, bool on) {
  if (file->lease.perm_mark == on) return 0;
  if (!perm_) return ENOSYS;
  int error = perm_.mark(on ? FAN_MARK_ADD : FAN_MARK_REMOVE, FAN_OPEN_PERM, file->fd.get());
  if (!on && error == ENOENT) error = 0;
  if (!error) file->lease.perm_mark = on;
  return error;
}

bool LeaseEngine::acquire(WatchedFile* file) {
  errno = sys::take_write_lease(taker_, file->fd.get());
  if (errno) return false;
  file->lease.phase = LeaseState::Phase::Held;
  file->lease.taker = taker_.pid();
  file->lease.unanswered = 0;
  file->lease.read_reported = file->lease.truncate_reported = false;
  // A predecessor's that somebody waits for: the kernel has told of it once, and does not again. The thread looks when it
  // begins.
  if (sys::lease_type(file->fd.get()) != F_WRLCK) schedule(file, Clock::now());
  return true;
}

bool LeaseEngine::alone(WatchedFile* file) { return looks_ != nullptr ? looks_(file->fd.get()) : taker_.take(file->fd.get()) == 0; }

void LeaseEngine::on_breaks() {
  bool all = false;
  for (const int fd : taker_.breaks()) {
    auto at = by_fd_.find(fd);
    WatchedFile* file = at == by_fd_.end() ? nullptr : files_->find(at->second);
    // The number may be one that the file had with a predecessor, or that its client has.
    if (!file || file->lease.phase != LeaseState::Phase::Held || sys::lease_type(fd) == F_WRLCK) all = true;
    else on_break(file);
  }
  const bool lost = taker_.lost();
  if (!all && !lost) return;
  std::size_t again = 0;
  for (auto& [fd, key] : by_fd_) {
    WatchedFile* file = files_->find(key);
    if (lost && told_elsewhere(*file)) take_again(file, &again);  // the others in on_tick()
    on_break(file);
  }
}

bool LeaseEngine::told_elsewhere(const WatchedFile& file) const {
  return file.lease.phase == LeaseState::Phase::Held && (file.lease.taker != taker_.pid() || taker_.pid() < 0);
}

// Another process is to be told. again: how many were taken so far, of kRetakes; where that does not work no more of them are tried.
void LeaseEngine::take_again(WatchedFile* file, std::size_t* again) {
  if (*again >= kRetakes) return;
  taker_.take(file->fd.get());
  file->lease.taker = taker_.pid();
  *again = taker_.pid() < 0 ? kRetakes : *again + 1;
}

void LeaseEngine::on_tick() {
  if (by_fd_.empty()) return;
  taker_.wake();
  on_breaks();
  auto at = by_fd_.lower_bound(next_look_);
  std::size_t again = 0;
  for (std::size_t left = std::min(std::max(kLooks, by_fd_.size() / kCycle), by_fd_.size()); left > 0; left--) {
    if (at == by_fd_.end()) at = by_fd_.begin();
    WatchedFile* file = files_->find(at->second);
    if (told_elsewhere(*file)) take_again(file, &again);
    if (file->lease.phase == LeaseState::Phase::Held) on_break(file);
    ++at;
  }
  next_look_ = at == by_fd_.end() ? -1 : at->first;
}

void LeaseEngine::on_break(WatchedFile* file) {
  LeaseState& lease = file->lease;
  if (lease.phase == LeaseState::Phase::Shared) return;
  int type = sys::lease_type(file->fd.get());
  if (type == F_WRLCK || type < 0) return;
  if (lease.phase == LeaseState::Phase::Held) {
    lease.phase = LeaseState::Phase::Breaking;
    lease.forced = Clock::now() + std::chrono::seconds(break_seconds_);
    schedule(file, lease.forced);
  }
  if (desk_->stands_open()) {
    lease.unanswered = 0;
  } else if (type == F_UNLCK && file->needs.truncate && !lease.truncate_reported) {
    lease.truncate_reported = true;
    hold(file, BreakKind::Destructive, "truncate(2) or an open for writing");
  } else if (type == F_RDLCK && file->needs.read && !lease.read_reported) {
    lease.read_reported = true;
    hold(file, BreakKind::Read, "an open for reading");
  }
  if (lease.unanswered == 0) drop(file);
}

void LeaseEngine::hold(WatchedFile* file, BreakKind kind, const char* what) {
  ++file->lease.unanswered;
  ForeignOp op;
  op.file = file->key;
  op.kind = kind;
  // Whether it is a truncate, and to which size, is not told: all of the file may go, or be written by who opens it.
  op.shortens = kind == BreakKind::Destructive;
  op.what = what;
  ledger_->hold(std::move(op), TaskView{}, [this, key = file->key](int deny) {
    let_go(key);
    return deny ? ENOTSUP : 0;
  }, kLeaveBound);
}

int LeaseEngine::let_go(const core::FileKey& key) {
  WatchedFile* file = files_->find(key);
  if (!file || file->lease.phase != LeaseState::Phase::Breaking) return 0;
  if (file->lease.unanswered) --file->lease.unanswered;
  // While a reader was held a writer may have come, whose signal is still to be read.
  if (file->lease.unanswered == 0) on_break(file);
  return 0;
}

// Ends the break: whoever waits goes on.
void LeaseEngine::drop(WatchedFile* file) {
  mark_perm(file, true);  // first, so that no O_TRUNC open slips through between
  give_back(file);
  file->lease.tries = 0;
  schedule(file, Clock::now() + retry_interval(2));
}

bool LeaseEngine::reads_perm() {
  const WatchedFile* file = breaking_ ? files_->find(*breaking_) : nullptr;
  if (!file || !under_way(file->lease)) breaking_.reset();
  return !breaking_;
}

// What was acquired, without the mark. True.
bool LeaseEngine::keep(WatchedFile* file) {
  mark_perm(file, false);
  if (perm_ && !alone(file)) coming_[file->key] = Clock::now();
  return true;
}

void LeaseEngine::give_back(WatchedFile* file) {
  sys::drop_lease(file->fd.get());
  file->lease.phase = LeaseState::Phase::Shared;
}

// No lease of a file that an event may be of is held: true. False: one that somebody waits for, who is let go first.
bool LeaseEngine::give_way() {
  breaking_.reset();
  for (auto at = coming_.begin(); at != coming_.end() && !breaking_;) {
    WatchedFile* file = files_->find(at->first);
    give_way(file);
    if (under_way(file->lease)) breaking_ = at->first;
    const bool keep = file->lease.phase != LeaseState::Phase::Shared && (breaking_ || Clock::now() < at->second + kOnTheWay);
    at = keep ? std::next(at) : coming_.erase(at);
  }
  return !breaking_;
}

void LeaseEngine::give_way(WatchedFile* file) {
  const int fd = file->fd.get();
  if (file->lease.phase != LeaseState::Phase::Held || alone(file)) return;
  // truncate(2) counts as well, just before it breaks the lease.
  for (Clock::duration wait{}; wait < kAboutTo && sys::lease_type(fd) == F_WRLCK; wait += kTryAgain) {
    std::this_thread::sleep_for(kTryAgain);
    if (alone(file)) return;
  }
  if (sys::lease_type(fd) == F_WRLCK) {
    mark_perm(file, true);  // who comes now comes to the queue
    if (sys::lease_type(fd) == F_WRLCK) return drop(file);
    mark_perm(file, false);  // a successor would take the lease from whom it holds, who came just before
  }
  on_break(file);
}

int LeaseEngine::on_perm_readable() {
  if (!give_way()) return 0;
  const int error = desk_->read(&perm_, Group::Perm);
  return error == EAGAIN ? 0 : error;
}

void LeaseEngine::on_notice(WatchedFile* file, std::uint64_t mask, int tid) {
  if (sys::is_own_thread(tid)) return;
  // One notice may stand for several: an O_TRUNC open changes the file before it has opened it, so that is asked first.
  bool explained = (mask & FAN_MODIFY) && ledger_->modified(file->key, tid);
  if (mask & FAN_OPEN) ledger_->opened(file->key, tid);
  if ((mask & FAN_MODIFY) && !explained && file->needs != core::Needs{}) {
    outbox_->add_change({file->key, tid, " without being held"});
  }
  if ((mask & FAN_CLOSE) && file->lease.phase == LeaseState::Phase::Shared && file->lease.retry) {
    // The notice comes shortly before the description is gone.
    file->lease.tries = 0;
    schedule(file, Clock::now() + retry_interval(0));
  }
}

bool LeaseEngine::settled(const core::FileKey& key) {
  WatchedFile* file = files_->find(key);
  if (!file || file->kind != Kind::Lease || file->lease.phase != LeaseState::Phase::Shared) return true;
  return !file->lease.retry || ledger_->busy(key) || regain(file);
}

void LeaseEngine::poll(Clock::time_point now) {
  while (!due_.empty() && due_.begin()->first <= now) {
    WatchedFile* file = files_->find(due_.begin()->second);
    due_.erase(due_.begin());
    if (!file) continue;
    if (file->lease.phase == LeaseState::Phase::Held) {
      on_break(file);
    } else if (file->lease.phase == LeaseState::Phase::Breaking) {
      mark_perm(file, true);  // the lease is gone, and its answer still to come
      outbox_->add([key = file->key, s = break_seconds_](const Listener& listener) {
        listener.observed(key, "the kernel let a held operation go on after " + std::to_string(s) +
                                   " s (fs.lease-break-time)");
      });
    } else if (file->lease.phase == LeaseState::Phase::Shared && file->lease.retry && !regain(file)) {
      schedule(file, now + retry_interval(++file->lease.tries));
    }
  }
}

// A predecessor's mark is taken away under its lease as in regain(). One that was killed between may have left both: the lease goes
// before the mark's events are read, unless somebody waits for it.
bool LeaseEngine::take_first(WatchedFile* file) {
  file->lease.perm_mark = inherited_.contains(file->key.inode);
  if (!file->lease.perm_mark) return acquire(file) && keep(file);
  if (regain(file)) return true;
  const int error = errno;
  if (error == EAGAIN && acquire(file)) {
    if (sys::lease_type(file->fd.get()) != F_WRLCK) return keep(file);
    give_back(file);
  }
  errno = error;
  return false;
}

// False: errno says whether it may succeed one day (EAGAIN).
bool LeaseEngine::regain(WatchedFile* file) {
  bool queue = static_cast<bool>(perm_);
  errno = EAGAIN;
  if (ledger_->busy(file->key) || (queue && perm_.readable())) return false;
  if (!acquire(file)) return false;
  // An open that came between asks through the queue: its event must not be read while the lease is held.
  if (!queue || !perm_.readable()) return keep(file);
  give_back(file);
  errno = EAGAIN;
  return false;
}

void LeaseEngine::schedule(WatchedFile* file, Clock::time_point at) {
  unschedule(file);
  file->lease.next_try = at;
  due_.insert({at, file->key});
}

void LeaseEngine::unschedule(WatchedFile* file) { due_.erase({file->lease.next_try, file->key}); }

void LeaseEngine::disarm() {
  due_.clear();
  for (auto& [fd, key] : by_fd_) {
    WatchedFile* file = files_->find(key);
    mark_perm(file, false);
    if (file->lease.phase != LeaseState::Phase::Shared) sys::drop_lease(fd);
    file->lease.phase = LeaseState::Phase::Shared;
    file->lease.retry = false;
  }
}

}  // namespace mrlease::guard
