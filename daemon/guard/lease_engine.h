// SPDX-License-Identifier: Apache-2.0
// The lease guard: F_SETLEASE holds truncate(2) and opens by others while the client's description is the only one.
//
//   Held ---somebody opens or truncates---> Breaking ---answered---> Shared ---the others have closed---> Held
//
// In Shared, FAN_OPEN_PERM holds opens with O_TRUNC, and other changes are observed. That mark is never there together
// with the lease: the descriptor that comes with its event is an open of the file and would break our own lease, for which
// the reader of the event would wait. Who has passed the mark just before it is taken away may come to the queue only later:
// then the lease goes before the queue is read.
// A held operation goes on by itself after /proc/sys/fs/lease-break-time, and cannot be denied, only delayed.
// Not thread-safe: the guard's lock is held around every call.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <utility>

#include "daemon/guard/event_desk.h"
#include "daemon/sys/file_lease.h"

namespace mrlease::guard {

class LeaseEngine {
 public:
  // looks: whether nobody else has the file open, asked while its lease is held; a test may see somebody on the way.
  LeaseEngine(WatchedFiles* files, Ledger* ledger, EventDesk* desk, Outbox* outbox, bool (*looks)(int fd) = nullptr);

  // The group for O_TRUNC opens: a predecessor's, or a new one.
  // `follows`: somebody may be about to leave whom a predecessor let go.
  void open(sys::Fd perm, bool follows);
  const sys::FanGroup& perm() const { return perm_; }
  void watch(WatchedFile* file);  // fills in kind and text
  void unwatch(WatchedFile* file);

  const sys::LeaseTaker& taker() const { return taker_; }  // on_breaks(), when one of its descriptors is readable
  int perm_fd() const { return perm_.fd(); }
  bool reads_perm();  // not while an event may be of a file whose break is under way
  void on_breaks();
  // Whom the taker has not told: it was stopped, or the client has set another owner.
  void on_tick();
  int on_perm_readable();
  // A notification (FAN_MODIFY, FAN_OPEN, FAN_CLOSE) on a file of this guard.
  void on_notice(WatchedFile* file, std::uint64_t mask, int tid);
  // Its lease is held again, or cannot be, or somebody else is held or passing, whose end is waited for. Tries to take it.
  bool settled(const core::FileKey& key);
  void poll(Clock::time_point now);
  Clock::time_point next_due() const { return due_.empty() ? Clock::time_point::max() : due_.begin()->first; }
  void disarm();

 private:
  using Due = std::set<std::pair<Clock::time_point, core::FileKey>>;

  void on_break(WatchedFile* file);
  void hold(WatchedFile* file, core::BreakKind kind, const char* what);
  int let_go(const core::FileKey& key);
  void drop(WatchedFile* file);
  bool acquire(WatchedFile* file);
  bool alone(WatchedFile* file);
  void take_again(WatchedFile* file, std::size_t* again);
  bool told_elsewhere(const WatchedFile& file) const;  // of a break of its lease; or nobody is
  bool regain(WatchedFile* file);
  bool take_first(WatchedFile* file);
  bool keep(WatchedFile* file);
  void give_back(WatchedFile* file);
  bool give_way();
  void give_way(WatchedFile* file);
  int mark_perm(WatchedFile* file, bool on);
  void schedule(WatchedFile* file, Clock::time_point at);
  void unschedule(WatchedFile* file);

  WatchedFiles* files_;
  Ledger* ledger_;
  EventDesk* desk_;
  Outbox* outbox_;
  bool (*looks_)(int fd);
  sys::FanGroup perm_;
  sys::LeaseTaker taker_;
  int next_look_ = -1;  // of on_tick(): the first descriptor
  int break_seconds_ = 45;
  std::set<std::uint64_t> inherited_;  // inodes that a predecessor has marked for FAN_OPEN_PERM
  Clock::duration patience_{};  // left for leases that a predecessor's files could not have at once
  Due due_;
  std::map<int, core::FileKey> by_fd_;  // si_fd tells which lease is broken
  std::map<core::FileKey, Clock::time_point> coming_;  // since when somebody may be on the way from the mark to the queue
  std::optional<core::FileKey> breaking_;  // the one that the queue is not read for
};

}  // namespace mrlease::guard
