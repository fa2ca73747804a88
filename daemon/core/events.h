// SPDX-License-Identifier: Apache-2.0
// What comes into the arbiter and what goes out of it. Values only.
#pragma once

#include "daemon/core/types.h"

namespace mrlease::core {

namespace event {
// A client asks for a lease. Answered by effect::Granted or effect::Refused; behind a pending overlapping break it waits.
struct RequestLease { RequestId request; Lease lease; };
// The client gives a lease up, its MRs are gone. What it owes the file (bounce pages, a frozen store) is flushed first,
// and where a freeze holds the lease: after its thaw. Answered by effect::Released.
struct ReleaseLease { RequestId request; LeaseId lease; SessionId session; };
// The client has told that the file grew and it wants the range back. Answered by effect::Extended or Refused.
// Allowed only with no truncate under way on the file. file_size: by fstat.
struct ExtendLease { RequestId request; LeaseId lease; SessionId session; std::uint64_t file_size; };
// The client's connection or process is gone; its MRs are already destroyed by the caller. Owed data is flushed
// as for a release, then effect::Forget is emitted per lease.
struct SessionGone { SessionId session; };
// Somebody needs something of the file. owner != 0: a break asked for by that session through the API (Sync, Freeze,
// Revoke): it ends by effect::BreakAnswered like any other, and a Freeze of a session that goes is thawed. A session has
// at most kApiBreaksMax of them unanswered (EDQUOT); one that concerns a lease which an overdue operation has: EBUSY.
struct RequestBreak {
  BreakId id; FileKey file; BreakKind kind; Extent extent; std::uint64_t new_size = 0; Time hold = 0; SessionId owner = 0;
  bool deniable = true;  // false: the guard cannot refuse the operation, so where policy would deny, the lease is fenced
  LeaseId only = 0;      // Revoke: this lease and no other; 0: all that the extent touches
  bool shortens = false; // Destructive: the file may end at new_size afterwards
  std::uint64_t shorter_by = 0;  // where that is known: by how much, from wherever the file ends when it begins
  bool periodic = false;         // the Sync that effect::SyncDue wants
};
struct Thaw { BreakId freeze; RequestId request; };           // answered by effect::Thawed
struct RecallAnswered { RecallId recall; SessionId session; int code; };  // code: 0 or errno; an errno is a refusal: fence
struct WorkDone { WorkId work; int code; };                   // code: 0 or errno
struct FenceDone { LeaseId lease; bool ok; };                 // ok false: the client was killed
// The foreign operation has left (or failed); file_size: by fstat, now.
struct OperationLeft { BreakId id; std::uint64_t file_size; };
// For the successor of an arbiter that has gone, before anything else, with the same ids. A lease that was granted:
struct AdoptLease { Lease lease; };
// It had begun to fence it (after its AdoptLease): whether that has ended nobody knows, so it begins again.
struct AdoptFence { LeaseId lease; };
// A break whose first half is done: these leases are out of its way (what of each, is the extent) and get back what they can
// have. A Freeze with a hold left goes on holding, else it is thawed at once; an operation must have left, file_size: by
// fstat. Never answered (it was); ends by effect::BreakDone, a Freeze by effect::Thawed as well.
struct AdoptBreak {
  struct Part { LeaseId lease; Extent extent; };
  BreakId id; FileKey file; BreakKind kind; Extent extent; std::uint64_t file_size; Time hold; SessionId owner;
  std::vector<Part> parts;
};
// An operation on the file that it had allowed, and that is inside for longer than its bound: nothing is granted before its
// OperationLeft. Which leases are in its way nobody knows any more: the caller revokes them. Ends by effect::BreakDone.
struct AdoptPassing { BreakId id; FileKey file; };
// Time has passed, and nothing else.
struct Tick {};
}  // namespace event

using Event = std::variant<event::RequestLease, event::ReleaseLease, event::ExtendLease, event::SessionGone,
                           event::RequestBreak, event::Thaw, event::RecallAnswered, event::WorkDone, event::FenceDone,
                           event::OperationLeft, event::AdoptLease, event::AdoptFence, event::AdoptBreak,
                           event::AdoptPassing, event::Tick>;

namespace effect {
struct Granted { RequestId request; LeaseId lease; };
struct Refused { RequestId request; int code; std::string message; };
struct Released { RequestId request; LeaseId lease; int code; };  // the lease is forgotten; code: result of the last flush
struct Extended { RequestId request; LeaseId lease; std::uint64_t file_size; };
// Ask the client. size: Trim: the size asked for; Settle, Reregister: the file's size now.
struct Recall {
  RecallId recall; LeaseId lease; SessionId session; Action action; BreakKind reason; Extent extent; std::uint64_t size;
  Time deadline;  // absolute
  BreakId break_id = 0;  // for which break; 0: for what remains of one that was denied
};
struct StartWork { WorkId work; LeaseId lease; FileKey file; Work kind; Extent extent; };
struct StartFence { LeaseId lease; SessionId session; bool kill; };
// Answer the guard, or the session that asked. deny_errno 0: allowed. For a Freeze: it holds now.
struct BreakAnswered { BreakId id; int deny_errno; };
// Passing: the caller now watches for the operation to leave and says OperationLeft.
struct WatchPassing { BreakId id; };
struct BreakDone { BreakId id; };
struct Thawed { BreakId freeze; RequestId request; bool expired; };  // request 0: the hold passed by itself
struct Fenced { LeaseId lease; SessionId session; };  // tell the client
struct Forget { LeaseId lease; };                     // free everything of it
// The file has not been synced for the shortest Terms::writeback_interval of its write leases. The caller asks for a Sync of all of
// it (RequestBreak.periodic, owner 0), now: the next one is due when that is done.
struct SyncDue { FileKey file; };
// Something that an administrator wants to know.
struct Report { FileKey file; LeaseId lease; BreakId break_id; std::string what; };
}  // namespace effect

using Effect = std::variant<effect::Granted, effect::Refused, effect::Released, effect::Extended, effect::Recall,
                            effect::StartWork, effect::StartFence, effect::BreakAnswered, effect::WatchPassing,
                            effect::BreakDone, effect::Thawed, effect::Fenced, effect::Forget, effect::SyncDue, effect::Report>;
using Effects = std::vector<Effect>;

}  // namespace mrlease::core
