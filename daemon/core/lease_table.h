// SPDX-License-Identifier: Apache-2.0
// Every lease: by id, by session, by file and extent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "daemon/core/chained_table.h"
#include "daemon/core/interval_index.h"
#include "daemon/core/rare_list.h"
#include "daemon/core/types.h"

namespace mrlease::core {

// One lease's share in one break.
struct PartRef {
  BreakId break_id = 0;
  std::size_t part = 0;
};

using PartRefs = RareList<PartRef>;

enum class Fence : std::uint8_t {
  None,
  Ordered,   // StartFence was emitted
  Killing,   // and the client is being killed
  Overrun,   // neither helped in time: out of the arbiter's reach, breaks no longer wait for it
  Done
};

enum class Ending : std::uint8_t { None, Released, Gone, Revoked };

// Leases of one file that may be in a break's way, by what they ask of it.
struct Census {
  std::size_t all = 0, direct = 0, bounce = 0, bounce_write = 0;
};

// A file of one lease, as each client of a checkpoint has its own, needs no index.
struct LeasedFile {
  explicit LeasedFile(const FileKey& of) : file(of) {}

  const FileKey file;
  LeaseEntry* lone = nullptr;
  std::unique_ptr<IntervalIndex> index;  // from the second on
  std::uint32_t direct = 0, bounce = 0, bounce_write = 0;  // see Census
  std::size_t leases() const { return index ? index->size() : lone != nullptr; }

  LeasedFile* chain = nullptr;
  const FileKey& key() const { return file; }
  static std::size_t hash(const FileKey& file);
};

struct LeasingSession {
  explicit LeasingSession(SessionId of) : session(of) {}

  const SessionId session;
  LeaseEntry* latest = nullptr;

  LeasingSession* chain = nullptr;
  SessionId key() const { return session; }
  static std::size_t hash(SessionId session) { return session; }  // they are counted
};

// There may be a million (./run bench), and malloc gives out 16 bytes at a time: what only few have at a time takes a pointer.
struct LeaseEntry {
  explicit LeaseEntry(const Lease& granted) : lease(granted) {}

  Lease lease;
  Fence fence = Fence::None;
  Ending ending = Ending::None;
  bool store_owed : 1 = false;       // it ended (odp, direct) or was fenced while frozen: what its store holds is not in the file
  bool last_flush : 1 = false;       // is running
  bool releasing : 1 = false;        // `release` waits for effect::Released
  std::uint32_t open_after = 0;      // breaks that still owe it what follows them (Merge, ResumeFlush, Settle, ...)
  std::uint32_t trims = 0;           // works under way that cut off what lies beyond the file's end
  std::uint32_t overdue = 0;         // parts in overdue operations (FileQueue::overdue)
  BreakId frozen_by = 0;
  RareList<RecallId> recalls;        // outstanding
  PartRefs waiting;                  // parts of breaks that wait for its fence or its end
  RequestId release = 0;
  Time fence_deadline = 0;           // of each stage of the fence that runs

  // Out of every break's way, for good.
  bool retired() const { return fence == Fence::Overrun || fence == Fence::Done; }
  bool owes() const { return lease.write && (lease.backing == Backing::Bounce || store_owed); }

  // LeaseTable's:
  LeasedFile* file = nullptr;                      // none: retired
  LeaseEntry *before = nullptr, *after = nullptr;  // of the session's
  LeaseEntry* chain = nullptr;
  LeaseId key() const { return lease.id; }
  static std::size_t hash(LeaseId id) { return id; }  // they are counted
};

class LeaseTable {
 public:
  LeaseEntry* find(LeaseId id) { return leases_.find(id); }
  const LeaseEntry* find(LeaseId id) const { return leases_.find(id); }
  void insert(const Lease& lease);  // REQUIRES: the id is new
  void erase(LeaseId id);
  // Takes a lease out of the file's index and census; it stays in the table. Erasing does it as well.
  void retire(LeaseEntry& entry);

  // Calls visit(LeaseEntry&) for each lease not retired that overlaps, by rising begin, until it returns false.
  // visit must neither insert, erase nor retire.
  template <typename Visit>
  void visit(const FileKey& file, const Extent& extent, Visit&& visit) {
    const LeasedFile* const leased = files_.find(file);
    if (leased == nullptr) return;
    if (!leased->index) {
      if (!extent.empty() && leased->lone->lease.extent.overlaps(extent)) visit(*leased->lone);
      return;
    }
    leased->index->visit(extent, [&](LeaseId, LeaseEntry* entry) { return visit(*entry); });
  }

  Census census(const FileKey& file) const;
  std::vector<LeaseId> of_session(SessionId session) const;  // rising
  std::size_t size() const { return leases_.size(); }

 private:
  ChainedTable<LeaseId, LeaseEntry> leases_;
  ChainedTable<FileKey, LeasedFile> files_;          // with a lease that is not retired
  ChainedTable<SessionId, LeasingSession> sessions_;  // with a lease
};

}  // namespace mrlease::core
