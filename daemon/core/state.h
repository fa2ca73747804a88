// SPDX-License-Identifier: Apache-2.0
// The inside of the arbiter. One job per .cc file:
//   arbiter    the events and the deadlines, to whom they go
//   file_queue which break of a file is next
//   plan       what a break asks of which leases
//   complying  until the answer
//   passing    from the answer to the end
//   overdue    operations that do not leave in time
//   freeze     holding and thawing
//   tasks      recalls and works: sending, answers, deadlines
//   fencing    force, and denial instead of force
//   endings    release, revoke, a session that goes
//   grants     new leases and growing ones
//   writeback  syncs that nobody asks for
//   adopt      what a predecessor left
// A handler never runs the queue itself: it marks the file, and settle() runs what is marked once the handler is
// through. So nothing recurses from the end of one break into the start of the next, and a Break& stays valid through a handler
// (breaks that are done are kept until the step ends).
#pragma once

#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>

#include "daemon/core/arbiter.h"
#include "daemon/core/break_state.h"
#include "daemon/core/lease_table.h"
#include "daemon/core/timers.h"

namespace mrlease::core {

// An outstanding recall. Of a part, or (break_id 0) of a lease alone: what remains of a break that was denied.
struct RecallRecord {
  LeaseId lease = 0;
  SessionId session = 0;
  BreakId break_id = 0;
  std::size_t part = 0;
  Action action = Action::None;
  BreakKind kind = BreakKind::Revoke;
  Extent extent;
  std::uint64_t size = 0;
  Action then = Action::None;  // break_id 0: what has to follow the client's answer
  bool late = false;           // its deadline has passed and the operation was denied: no deadline any more
  // Of the policy when it was sent: a new one must not prolong what already runs beyond the old one's bound.
  Time fence_deadline = 0;
  OnTimeout on_timeout = OnTimeout::Fence;
};

struct WorkRecord {
  FileKey file;
  LeaseId lease = 0;
  BreakId break_id = 0;  // 0: the last flush of the lease
  std::size_t part = 0;
  Work kind = Work::None;
};

struct OwedAfter {
  Action action;
  BreakKind kind;
  Extent extent;
  std::uint64_t size;
};

// A file that is synced from time to time (writeback.cc).
struct Writeback {
  std::uint64_t number = 0;  // Timer.id
  Time began = 0;            // the last one; before the first: when the file was leased
  Time due = kNever;         // kNever: it is under way
  int failed = 0;            // what the work of one came to, until somebody who asks for a sync has heard of it
};

inline bool may_shorten(const event::RequestBreak& ask) { return ask.kind == BreakKind::Truncate || ask.shortens; }

struct Arbiter::State {
  explicit State(Policy p) : policy(std::move(p)) {}

  Policy policy;
  std::vector<Terms> special;  // Lease.terms, from 1
  Time now = 0;
  Effects out;
  LeaseTable leases;
  Timers timers;
  std::map<BreakId, std::unique_ptr<Break>> breaks;
  std::vector<std::unique_ptr<Break>> done;  // this step's
  std::map<FileKey, FileQueue> queues;       // files with a break or a waiting request
  std::unordered_map<RecallId, RecallRecord> recalls;
  std::unordered_map<WorkId, WorkRecord> works;
  std::unordered_map<LeaseId, std::vector<OwedAfter>> owed_after;
  std::map<SessionId, unsigned> unanswered;  // API breaks
  std::map<FileKey, Writeback> writebacks;
  std::unordered_map<std::uint64_t, FileKey> written_back;  // Writeback.number
  std::set<FileKey> marked;
  RecallId last_recall = 0;
  WorkId last_work = 0;
  std::uint64_t last_writeback = 0;

  // arbiter.cc
  void advance();
  void expire(const Timer& timer);
  void report(const FileKey& file, LeaseId lease, BreakId id, std::string what);
  void refuse(RequestId request, int code, std::string message);
  const Terms& terms_of(const Lease& lease) const;
  Break* find_break(BreakId id);

  // file_queue.cc
  void request_break(const event::RequestBreak& ask);
  void settle();
  void run_queue(FileQueue& queue);
  bool let_through(FileQueue& queue, Break& b);
  bool conflicts_with(const Break& freeze, const Break& b);
  void activate(Break& b, Phase phase);
  void deactivate(Break& b);
  void answer(Break& b, int code);
  void answered_or_over(const Break& b);
  void finish(Break& b);

  // plan.cc
  void plan(Break& b);
  bool somebody_waits(const Break& b);
  void add_part(Break& b, LeaseEntry& entry, const Row& row, const Extent& extent);

  // complying.cc
  void start(Break& b);
  void begin_before(Break& b, std::size_t part);
  void work_before(Break& b, std::size_t part);
  void sync_lease(Break& b, std::size_t part);
  void recall_complied(Break& b, std::size_t part);
  void complied(Break& b, std::size_t part);
  void client_out(Break& b, std::size_t part);  // its lease is gone or fenced: nothing more to ask
  void part_done(Break& b, std::size_t part);
  void out_of_the_way(Break& b);
  void bare_fsync(Break& b);

  // passing.cc
  void operation_left(const event::OperationLeft& e);
  void cut_leases(Break& b);
  void restore(Break& b);
  void begin_after(Break& b, std::size_t part);
  void restored(Break& b);
  void close_part(Break& b, std::size_t part);  // what the lease had to get afterwards is given, or void
  void part_closed(LeaseEntry& entry);

  // overdue.cc
  void passing_expired(Break& b);
  bool restore_overdue(FileQueue& queue);
  bool in_overdue_hands(const FileQueue& queue, const Break& b);
  bool kept_from_thawing(const Break& freeze);
  void hand_over(Break& b);
  void already_out(Break& b, LeaseEntry& entry, Row* row, Extent* extent);

  // freeze.cc
  void hold(Break& b);
  void want_thaw(Break& b, bool expired);
  void start_thaws(FileQueue& queue);
  void thaw(const event::Thaw& e);
  void thawed(Break& b);

  // tasks.cc
  RecallId send_recall(LeaseEntry& entry, const RecallRecord& record);
  void recall_part(Break& b, std::size_t part, Action action, std::uint64_t size);
  void start_work(const WorkRecord& record, const Extent& extent);
  void work_part(Break& b, std::size_t part, Work kind);
  void forget_recall(RecallId id);
  void recall_answered(const event::RecallAnswered& e);
  void recall_expired(RecallId id);
  void recall_failed(RecallId id, const std::string& why, bool answered);
  void late_answered(const RecallRecord& record, int code);
  void work_done(const event::WorkDone& e);
  void work_over(WorkId id, int code);
  static bool is_answer(const Break& b);
  static void not_written(Break& b, int code);
  void owe_after(LeaseEntry& entry, const OwedAfter& owed);

  // fencing.cc
  void fence(LeaseEntry& entry, const RecallRecord& overdue, const std::string& why);
  void fence_expired(LeaseId id);
  void fence_done(const event::FenceDone& e);
  void wait_for(LeaseEntry& entry, Break& b, std::size_t part, Step step);
  void resume(const PartRefs& parts);
  void settle_recalls(LeaseEntry& entry, Step waits_as);
  void out_of_reach(LeaseEntry& entry);
  void deny(Break& b);
  void detach_late(Break& b);

  // endings.cc
  void release(const event::ReleaseLease& e);
  void session_gone(SessionId session);
  void end_lease(LeaseEntry& entry, Ending why);
  void start_owed_flush(LeaseEntry& entry, bool at_once);
  bool has_store(const LeaseEntry& entry) const;
  bool store_comes_back(const LeaseEntry& entry) const;
  bool may_be_in_store(const LeaseEntry& entry) const;
  void await_end(LeaseEntry& entry, Break& b, std::size_t part);
  void owed_flush_done(LeaseEntry& entry, int code);
  void remove(LeaseEntry& entry, int code);

  // grants.cc
  enum class Verdict { Grant, Wait, Refused };
  void request_lease(const event::RequestLease& ask);
  FileQueue* find_queue(const FileKey& file);
  Verdict try_grant(const event::RequestLease& ask, std::optional<std::uint64_t> size);
  Verdict conflicts(const Lease& lease);
  void extend(const event::ExtendLease& ask);
  bool try_extend(const event::ExtendLease& ask);
  void serve_waiting(const FileKey& file);
  void drop_waiting(SessionId session);

  // writeback.cc
  Time writeback_interval(const FileKey& file);
  // A lease is new; or (among many) was taken over, or has other terms.
  void begin_writeback(const Lease& lease, bool among_many = false);
  void writeback_due(std::uint64_t number);
  void written(const Break& sync);  // the periodic one is over
  void tell_unwritten(Break& sync);
  void unleased(const FileKey& file);  // perhaps
  void set_writeback(Writeback& w, Time due);
  void end_writeback(const FileKey& file);

  // adopt.cc
  void adopt_lease(const event::AdoptLease& e);
  void adopt_fence(const event::AdoptFence& e);
  Break* adopt(const event::RequestBreak& ask);  // nullptr: known already
  void adopt_passing(const event::AdoptPassing& e);
  void adopt_break(const event::AdoptBreak& e);
};

}  // namespace mrlease::core
