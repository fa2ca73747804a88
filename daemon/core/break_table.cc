// SPDX-License-Identifier: Apache-2.0
#include "daemon/core/break_table.h"

#include <array>
#include <cstddef>

namespace mrlease::core {
namespace {

constexpr Row kNothing{};
constexpr Row kQuiesce{{Action::Quiesce, Work::None}, {Action::Reregister, Work::None}};
constexpr Row kTrim{{Action::Trim, Work::None}, {Action::Settle, Work::None}};
constexpr Row kHold{{Action::None, Work::HoldFlush}, {Action::None, Work::ResumeFlush}};
constexpr Row kMerge{{Action::None, Work::Flush}, {Action::None, Work::Merge}};
constexpr Row kFlush{{Action::None, Work::Flush}, {}};
// DMA into a pin does not dirty a page, so the client must do so before an fsync means anything.
constexpr Row kDirtySync{{Action::Dirty, Work::Fsync}, {}};
// For bounce this one work is flush and fsync together.
constexpr Row kSync{{Action::None, Work::Fsync}, {}};
constexpr Row kFreeze{{Action::Freeze, Work::None}, {Action::Thaw, Work::None}};
constexpr Row kFreezeFlush{{Action::None, Work::FreezeFlush}, {Action::None, Work::ResumeFlush}};
constexpr Row kRelease{{Action::Release, Work::None}, {}};
// What the client wrote until it gave up is owed to the file.
constexpr Row kReleaseFlush{{Action::Release, Work::Flush}, {}};

// Rows in the order of BreakKind, columns in the order of Backing: direct, odp transparent, odp cooperative, bounce.
constexpr std::array<std::array<Row, kBackings>, kBreakKinds> kTable{{
    /* Truncate    */ {kQuiesce, kTrim, kTrim, kHold},
    /* Destructive */ {kQuiesce, kNothing, kNothing, kMerge},
    /* Write       */ {kNothing, kNothing, kNothing, kMerge},
    /* Read        */ {kNothing, kNothing, kNothing, kFlush},
    /* Sync        */ {kDirtySync, kSync, kSync, kSync},
    /* Freeze      */ {kFreeze, kFreeze, kFreeze, kFreezeFlush},
    /* Revoke      */ {kRelease, kRelease, kRelease, kReleaseFlush},
}};

Row for_reader(BreakKind kind, Row r) {
  if (kind == BreakKind::Freeze) return kNothing;         // it cannot change the file
  if (r.before.work == Work::Flush) r.before.work = Work::None;  // it owes nothing
  // A write fault on a mapping that is not writable is a signal to the client, and there is nothing to make durable.
  if (r.before.action == Action::Dirty) r.before.action = Action::None;
  return r;
}

Row for_frozen(BreakKind kind, Row r) {
  switch (kind) {
    case BreakKind::Sync:  // the frozen file is synced as it is: the arbiter's bare fsync
    case BreakKind::Read:
      return kNothing;
    case BreakKind::Write:
    case BreakKind::Destructive:
      if (r.before.work == Work::Flush) r.before.work = Work::None;
      return r;
    case BreakKind::Truncate:
      // The thaw resumes the flush, and it cuts off what lies beyond the file's end as well.
      if (r.after.work == Work::ResumeFlush) r.after.work = Work::None;
      return r;
    case BreakKind::Freeze:
    case BreakKind::Revoke:
      return r;
  }
  return r;
}

}  // namespace

const Row& row(BreakKind kind, Backing backing) {
  return kTable[static_cast<std::size_t>(kind)][static_cast<std::size_t>(backing)];
}

Row row_for(BreakKind kind, const Lease& lease, bool frozen) {
  Row r = row(kind, lease.backing);
  if (!lease.write) r = for_reader(kind, r);
  return frozen ? for_frozen(kind, r) : r;
}

BreakKind kind_for(BreakKind kind, bool shortens, const Lease& lease) {
  return kind == BreakKind::Destructive && shortens && on_demand(lease.backing) ? BreakKind::Truncate : kind;
}

bool on_demand(Backing backing) { return backing == Backing::OdpTransparent || backing == Backing::OdpCooperative; }

bool syncs(Work work) { return work == Work::Fsync || work == Work::Writeback; }

bool trims(Work work) { return work == Work::ResumeFlush || work == Work::Merge; }

bool has_operation(BreakKind kind) {
  return kind == BreakKind::Truncate || kind == BreakKind::Destructive || kind == BreakKind::Write ||
         kind == BreakKind::Read;
}

const char* name(BreakKind kind) {
  constexpr std::array<const char*, kBreakKinds> kNames{"truncate", "destructive operation", "foreign write",
                                                        "foreign read", "sync", "freeze", "revoke"};
  return kNames[static_cast<std::size_t>(kind)];
}

}  // namespace mrlease::core
