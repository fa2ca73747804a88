// SPDX-License-Identifier: Apache-2.0
// The words of the arbiter: what is leased, what is wanted, what is to be done.
// Everything in daemon/core is pure: no clock, descriptor, thread or log; standard library only.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

namespace mrlease::core {

// Milliseconds on a clock that only the caller knows; never goes back.
using Time = std::uint64_t;
inline constexpr Time kNever = std::numeric_limits<Time>::max();
inline constexpr std::uint64_t kToEnd = std::numeric_limits<std::uint64_t>::max();
// Breaks of one session (RequestBreak.owner) that are not answered yet.
inline constexpr unsigned kApiBreaksMax = 16;

using SessionId = std::uint64_t;
using LeaseId = std::uint64_t;
using BreakId = std::uint64_t;   // chosen by the caller, never reused
using RecallId = std::uint64_t;  // chosen by the arbiter
using WorkId = std::uint64_t;    // chosen by the arbiter
using RequestId = std::uint64_t; // the caller's, handed back with the answer

// A file is its device and inode, by fstat of a descriptor that is held.
struct FileKey {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  auto operator<=>(const FileKey&) const = default;
};

// [begin, end) of a file, bytes.
struct Extent {
  std::uint64_t begin = 0;
  std::uint64_t end = kToEnd;
  bool operator==(const Extent&) const = default;
  bool empty() const { return begin >= end; }
  bool overlaps(const Extent& o) const { return begin < o.end && o.begin < end; }
};

enum class Backing : std::uint8_t { Direct, OdpTransparent, OdpCooperative, Bounce };
inline constexpr int kBackings = 4;

// What somebody else needs.
enum class BreakKind : std::uint8_t {
  Truncate,     // the file ends at new_size afterwards
  Destructive,  // pages of the extent go away: punch, O_DIRECT write, or unknown; it may shorten the file, too (a collapse)
  Write,        // foreign write(2)
  Read,         // foreign read(2)
  Sync,         // durable afterwards
  Freeze,       // stands still until thawed
  Revoke        // leases end
};
inline constexpr int kBreakKinds = 7;

// What is asked of the client, in a RECALL (proto/lease.proto, Action).
enum class Action : std::uint8_t { None, Quiesce, Reregister, Trim, Settle, Freeze, Thaw, Dirty, Release };

// What the daemon itself does for a lease.
enum class Work : std::uint8_t {
  None,
  Flush,       // write to the file what is owed: bounce: what changed; odp, direct (it ended while frozen): its store
  HoldFlush,   // bounce: let a running flush finish, start none until ResumeFlush
  ResumeFlush, // bounce: forget what lies beyond the file's end, tell the client what is cut off, flush again
  FreezeFlush, // bounce: flush, settle torn pages, then hold
  Merge,       // bounce: take over what somebody else changed, and as ResumeFlush forget what lies beyond the file's end
  Fsync,       // fsync the file
  Writeback    // Fsync, as policy wants it; direct: after its pages were made dirty, which DMA into a pin does not do
};

enum class FreezeConflict : std::uint8_t { Wait, Thaw, Allow };
// What becomes of the foreign operation when a client does not comply in time.
enum class OnTimeout : std::uint8_t { Fence, Deny, Kill };

struct Lease {
  LeaseId id = 0;
  SessionId session = 0;
  FileKey file;
  Extent extent;      // as granted
  std::uint64_t on_file_end = 0;  // what lies beyond was cut off; <= extent.end
  Backing backing = Backing::Bounce;
  bool write = false;
  bool share = false;
  std::uint16_t terms = 0;  // 0: those of the policy; n: the nth of Arbiter::set_policy()
};

// The part of the policy that may differ from lease to lease.
struct Terms {
  Time recall_deadline = 2000;  // a client's time to comply
  Time fence_deadline = 500;    // the fence's time, after that the client is killed and the guard answered
  OnTimeout on_timeout = OnTimeout::Fence;
  Time writeback_interval = 0;  // between the beginnings of two syncs of a file with write leases; 0: when somebody asks for one
  bool operator==(const Terms&) const = default;
};

struct Policy : Terms {
  Time passing_bound = 1000;    // how long an allowed operation may run before others no longer wait for it
  Time work_deadline = 5000;    // the daemon's own file work; overrun: report and go on
  Time freeze_hold_max = 60000;
  FreezeConflict freeze_conflict = FreezeConflict::Wait;
};

}  // namespace mrlease::core
