// SPDX-License-Identifier: Apache-2.0
// Every lease: by id, by session, by file and extent.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/core/interval_index.h"
#include "daemon/core/types.h"

namespace mrlease::core {

// One lease's share in one break.
struct PartRef {
  BreakId break_id = 0;
  std::size_t part = 0;
};

enum class Fence : std::uint8_t {
  None,
  Ordered,   // StartFence was emitted
  Killing,   // and the client is being killed
  Overrun,   // neither helped in time: out of the arbiter's reach, breaks no longer wait for it
  Done
};

enum class Ending : std::uint8_t { None, Released, Gone, Revoked };

struct LeaseEntry {
  Lease lease;
  Fence fence = Fence::None;
  Time fence_deadline = 0;           // of each stage of the fence that runs
  Ending ending = Ending::None;
  std::optional<RequestId> release;  // who waits for effect::Released
  std::uint32_t open_after = 0;      // breaks that still owe it what follows them (Merge, ResumeFlush, Settle, ...)
  std::uint32_t trims = 0;           // works under way that cut off what lies beyond the file's end
  std::uint32_t overdue = 0;         // parts in overdue operations (FileQueue::overdue)
  BreakId frozen_by = 0;
  bool store_owed = false;           // it ended (odp, direct) or was fenced while frozen: what its store holds is not in the file
  WorkId owed = 0;                   // the last flush, running
  std::vector<RecallId> recalls;     // outstanding
  std::vector<PartRef> waiting;      // parts of breaks that wait for its fence or its end

  // Out of every break's way, for good.
  bool retired() const { return fence == Fence::Overrun || fence == Fence::Done; }
  bool owes() const { return lease.write && (lease.backing == Backing::Bounce || store_owed); }
};

// Leases of one file that may be in a break's way, by what they ask of it.
struct Census {
  std::size_t all = 0, direct = 0, bounce = 0, bounce_write = 0;
};

class LeaseTable {
 public:
  LeaseEntry* find(LeaseId id);
  const LeaseEntry* find(LeaseId id) const;
  void insert(const Lease& lease);  // REQUIRES: the id is new
  void erase(LeaseId id);
  // Takes a lease out of the file's index and census; it stays in the table. Erasing does it as well.
  void retire(const LeaseEntry& entry);

  // Calls visit(LeaseEntry&) for each lease not retired that overlaps, by rising begin, until it returns false.
  // visit must neither insert, erase nor retire.
  template <typename Visit>
  void visit(const FileKey& file, const Extent& extent, Visit&& visit) {
    const auto it = files_.find(file);
    if (it == files_.end()) return;
    it->second.index.visit(extent, [&](LeaseId id) { return visit(*find(id)); });
  }

  Census census(const FileKey& file) const;
  std::vector<LeaseId> of_session(SessionId session) const;
  std::size_t size() const { return entries_.size(); }

 private:
  struct File {
    IntervalIndex index;
    Census census;
  };
  static void count(Census* census, const Lease& lease, std::size_t by);

  std::unordered_map<LeaseId, LeaseEntry> entries_;
  std::map<FileKey, File> files_;
  std::set<std::pair<SessionId, LeaseId>> sessions_;
};

}  // namespace mrlease::core
