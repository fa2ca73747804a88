// SPDX-License-Identifier: Apache-2.0
// Takes permission events: answers at once what nobody needs to know, holds the rest.
// Not thread-safe: the guard's lock is held around every call.
#pragma once

#include <optional>

#include "daemon/guard/journal.h"
#include "daemon/guard/ledger.h"
#include "daemon/guard/plain_tasks.h"
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

  // One read of a group's queue, and all that came with it. 0, or errno of the read.
  int read(const sys::FanGroup* from, Group group);
  // What a predecessor had read, of a file that is known. The group must outlive what is held of it.
  void take_over(const sys::FanGroup* group, const core::FileKey& file, sys::FanEvent event);
  // Of a file that is not known, as the predecessor was killed before it had looked: it may be of each that this group holds.
  void take_over_unseen(const sys::FanGroup* group, Group which, sys::FanEvent event, Clock::time_point look_until);
  void poll(Clock::time_point now);
  Clock::time_point next_due() const;
  // From now on everything is allowed at once.
  void stand_open();
  bool stands_open() const { return open_; }

 private:
  // An event can be read before its task has gone to sleep; until then the task's system call is not told.
  struct Early {
    const sys::FanGroup* group;
    core::FileKey file;
    sys::FanEvent event;
    std::chrono::microseconds step;
    Clock::time_point next_look, until;
  };

  void take(const sys::FanGroup* group, const EventFile& at, sys::FanEvent event);
  bool cannot_matter(const WatchedFile& file, const sys::FanEvent& event);
  WatchedFile* concerned(const core::FileKey& file, const sys::FanEvent& event);
  void allow(const sys::FanGroup& group, const sys::FanEvent& event);
  std::vector<WatchedFile*> may_be_of(Group which, const TaskView& view) const;
  Ledger::LetGo let_go_of(const sys::FanGroup* group, sys::FanEvent event);
  void decide(const sys::FanGroup* group, sys::FanEvent event, const EventFile& at, WatchedFile* file, TaskView view);

  WatchedFiles* files_;
  Ledger* ledger_;
  Journal* journal_;
  const std::function<void()>& coming_;
  PlainTasks plain_;
  bool open_ = false;
  std::vector<Early> early_;
};

}  // namespace mrlease::guard
