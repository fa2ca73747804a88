// SPDX-License-Identifier: Apache-2.0
// Takes permission events: answers at once what nobody needs to know, holds the rest. What it has to know of their tasks it asks
// for, and goes on when it is told.
// Not thread-safe: the guard's lock is held around every call.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "daemon/guard/journal.h"
#include "daemon/guard/ledger.h"
#include "daemon/guard/sight.h"
#include "daemon/guard/watched_files.h"
#include "daemon/sys/fanotify.h"

namespace mrlease::guard {

// The file of an event, as it was when that was read.
struct EventFile {
  core::FileKey key;  // no file's, when it cannot be told
  std::uint64_t size = 0;
  std::optional<std::uint64_t> mount;
  bool known = true;  // false: one that the event may be of
};

class EventDesk {
 public:
  // coming: Listener's.
  EventDesk(WatchedFiles* files, Ledger* ledger, Journal* journal, const std::function<void()>& coming)
      : files_(files), ledger_(ledger), journal_(journal), coming_(coming) {}

  // One read of a group's queue. What came with it is taken in next() and seen(). 0, or errno of the read.
  int read(const sys::FanGroup* from, Group group);
  // The look without which it does not go on, at the first event that needs one. Nothing: all are dealt with, or wait for their time.
  std::optional<Look> next();
  // What was seen. Nothing happens if the event has been dealt with meanwhile.
  void seen(const Look& look, Sight sight);
  // What a predecessor had read, of a file that is known. The group must outlive what is held of it.
  void take_over(const sys::FanGroup* group, const core::FileKey& file, sys::FanEvent event);
  // Of a file that is not known, as the predecessor was killed before it had looked: it may be of each that this group holds.
  void take_over_unseen(const sys::FanGroup* group, Group which, sys::FanEvent event, Clock::time_point look_until);
  void poll(Clock::time_point now);
  Clock::time_point next_due() const;  // of poll(); max(): never
  // From now on everything is allowed at once.
  void stand_open();
  bool stands_open() const { return open_; }

 private:
  struct Pending {
    const sys::FanGroup* group = nullptr;
    EventFile at;
    sys::FanEvent event;
    std::optional<Group> unseen;  // of that group, and the file is not known
    std::uint64_t serial = 0;
    std::optional<Depth> depth;  // of the look that is asked for; nothing: of none yet
    TaskView view;
    // An event can be read before its task has gone to sleep; until then the task's system call is not told.
    std::chrono::microseconds step{};
    Clock::time_point next_look{}, until{};
    bool early() const { return step.count() != 0; }
  };

  void take(Pending pending);
  std::optional<Look> look_for(Pending* pending);
  WatchedFile* concerned(const Pending& pending);
  void allow(const sys::FanGroup& group, const sys::FanEvent& event);
  bool too_early(Pending* pending, Clock::time_point now);
  std::vector<WatchedFile*> may_be_of(Group which, const Sight& sight) const;
  Ledger::LetGo let_go_of(const sys::FanGroup* group, sys::FanEvent event);
  void decide(Pending pending, WatchedFile* file, Sight sight);
  void decide_unseen(Pending pending, const Sight& sight);

  WatchedFiles* files_;
  Ledger* ledger_;
  Journal* journal_;
  const std::function<void()>& coming_;
  bool open_ = false;
  std::uint64_t last_serial_ = 0;
  std::deque<Pending> pending_;
  std::vector<Pending> early_;
};

}  // namespace mrlease::guard
