// SPDX-License-Identifier: Apache-2.0
// Everybody else: tasks that truncate, punch, write and read, and the kernel that holds them for the guard. What a task is
// about to do is judged by the real classification, and who is held or still inside is kept by the real ledger.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "daemon/guard/classify.h"
#include "daemon/guard/ledger.h"
#include "tests/sim/memory.h"

namespace mrlease::sim {

struct World;
using core::Time;

class Foreign {
 public:
  explicit Foreign(World& world);
  void arrive(u64 luck);
  // A client's own write(2) to [begin, end), nothing of it beyond the file's end: done(0, when it was let go) in its turn.
  using Done = std::function<void(int code, u64 let_go)>;
  void write(File& file, u64 begin, u64 end, Done done);
  void kill(u64 luck);     // one that is held
  void answer(core::BreakId id, int deny_errno, bool watch_leaving);
  void daemon_died();      // what it held is held on, what it allowed goes on
  void daemon_gone();      // for good: what it held goes on, and nothing is held until there is another
  void begin();            // a successor is ready
  bool inherited(const core::FileKey& file) const;  // one that a daemon before had allowed, and watched, is inside
  bool passes() const;     // something that was allowed, and is watched, is inside
  std::vector<guard::Overdue> adopt();  // such, by a successor
  void hurry();            // whoever is inside leaves
  bool quiet() const { return tasks_.empty() && ledger_->empty(); }
  bool inside(core::BreakId id) const { return inside_.count(id) != 0; }  // allowed, and in truth not over

 private:
  enum class Does { Ftruncate, Collapse, Punch, Write, Read, Direct, Reflink, OpenTrunc };
  enum class State { Waiting, Held, Running };
  struct Task {
    int tid = 0;
    State state = State::Waiting;
    File* file = nullptr;
    Does does = Does::Read;
    u64 begin = 0, end = 0;  // Ftruncate: begin is the new size
    guard::EventFacts event;
    guard::TaskFacts facts;
    std::optional<guard::FdFacts> from, to;
    bool watched = false;    // the daemon hears when it has left
    bool forgotten = false;  // that one was gone for good
    bool known() const { return watched && !forgotten; }
    bool unheard_of() const { return outlived && !known(); }
    bool known_inside() const { return state == State::Running && known(); }
    u64 unwatched = 0;       // of the file, when it was asked for
    bool outlived = false;  // the wait of a successor for what its predecessor had allowed
    bool fails = false, tells = true, killed = false, endless = false, again = false;
    Time runs = 0;
    u64 luck = 0;
    core::BreakId id = 0, adopted = 0;
    Done done;       // of a client's own
    u64 let_go = 0;  // Auditor::answers()
  };
  void start(int tid, u64 luck);
  void judge(int tid);
  void judge_when_read(int tid);
  void go_unheld(int tid);
  void run(int tid);
  void leave(int tid);
  void carry_out(const Task& t);
  void tell();
  void arm();
  static guard::TaskView look(int tid);
  static guard::Clock::time_point virtual_now();

  World& w_;
  guard::Outbox outbox_;
  std::unique_ptr<guard::Ledger> ledger_;
  guard::Listener listener_;
  std::map<int, Task> tasks_;
  int next_tid_ = 1;
  bool guarded_ = true;
  u64 life_ = 0;
  Time armed_ = core::kNever;
  std::map<core::BreakId, int> held_;  // by the daemon that lives
  std::set<core::BreakId> inside_;
};

}  // namespace mrlease::sim
