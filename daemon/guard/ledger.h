// SPDX-License-Identifier: Apache-2.0
// Every foreign operation that is held, or allowed and being watched until it is over. Their tasks are looked at by its caller.
// Not thread-safe: the guard's lock is held around every call.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "daemon/guard/guard.h"
#include "daemon/guard/journal.h"
#include "daemon/guard/leaving.h"
#include "daemon/guard/outbox.h"

namespace mrlease::guard {

class Ledger {
 public:
  // Lets the operation go on (0) or fail (errno). Returns 0, ENOENT when the task is gone, ENOTSUP when it could not be
  // denied and goes on.
  using LetGo = std::function<int(int deny_errno)>;
  // Is the file held again, as well as it can be, after what changed it?
  using Settled = std::function<bool(const core::FileKey& file)>;

  // now: a test may have a world of its own.
  explicit Ledger(Outbox* outbox, Journal* journal = nullptr, Clock::time_point (*now)() = Clock::now)
      : outbox_(outbox), journal_(journal), now_(now) {}

  // Nothing that may change the file is said to have left before `settled`: leases would come back to a file of which nothing
  // is held. For kSettleBound at the most: others may keep it open.
  void hold_back(Settled settled) { settled_ = std::move(settled); }

  // Tells the listener; the id. `view`: the task; tid 0: not known, then `left` is told at `bound` after the answer at the latest
  // (0: not before it shows).
  core::BreakId hold(ForeignOp op, TaskView view, LetGo let_go, Clock::duration bound = {});
  // One operation, of one of several files: it is let go when the last of these is answered, and fails if one is denied.
  void hold_any_of(std::vector<ForeignOp> ops, const TaskView& view, LetGo let_go, Clock::duration bound);
  // What a predecessor had allowed and noted, and still is inside: `left` is told as if it had been allowed here.
  core::BreakId adopt(const Passing& passing);
  void answer(core::BreakId id, int deny_errno, bool watch_leaving);
  void allow_all();

  // What was seen of files and tasks. modified(): true if an operation explains it.
  bool modified(const core::FileKey& file, int tid);
  void opened(const core::FileKey& file, int tid);
  // The task came with a new event on the file: what it was allowed before is over, or is covered by the new event.
  void came_again(const core::FileKey& file, int tid);

  // A task that is due to be looked at, and what was seen of it.
  struct Watched {
    core::BreakId id = 0;
    TaskView view;
  };
  // Views with nothing but the task in them.
  std::vector<Watched> due(Clock::time_point now) const;
  // seen: of those that were due; of those that are missing they are due still.
  // read_notices: called before a task is said to have left, since what it did may be queued still: calls modified().
  void poll(Clock::time_point now, std::vector<Watched> seen, const std::function<void()>& read_notices);
  Clock::time_point next_due() const;  // max(): never
  bool any_held() const;
  bool empty() const { return entries_.empty(); }
  bool busy(const core::FileKey& file) const;  // something is held, or has not left

 private:
  // What is held in the kernel: of one entry, mostly.
  struct Held {
    LetGo let_go;
    Clock::duration bound{};
    std::size_t unanswered = 1;
    int deny = 0;
  };
  struct Entry {
    ForeignOp op;
    TaskView view;
    std::shared_ptr<Held> held;
    bool answered = false;
    bool opened = false;  // by the task of `view`, who may be in that call still, or not
    unsigned looks = 0;
    Journal::Slot passing = Journal::kNoSlot;
    Clock::time_point next_look{};
    std::optional<Clock::time_point> until;
    std::optional<bool> over;  // it has left, for sure or not; the listener is not told yet
    bool passes() const { return answered && !over && held->unanswered == 0; }
    // Seen on its way to sleep, or not at all: its call is not told yet.
    bool early() const { return !answered && view.tid != 0 && (view.hidden || (view.call && view.call->running)); }
    bool looked_at() const { return early() || (passes() && view.tid != 0); }
  };
  using Entries = std::map<core::BreakId, Entry>;

  core::BreakId add(ForeignOp op, TaskView view, std::shared_ptr<Held> held);
  int let_go(Held& held);
  Entries::iterator leave(Entries::iterator entry, bool sure);
  Entries::iterator settle(Entries::iterator entry);
  bool has_left(Entry* entry, TaskView view) const;

  Outbox* outbox_;
  Journal* journal_;
  Clock::time_point (*now_)();
  Settled settled_;
  Entries entries_;
};

}  // namespace mrlease::guard
