// SPDX-License-Identifier: Apache-2.0
// A break on its way, and the line of breaks of one file.
#pragma once

#include <list>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "daemon/core/break_table.h"
#include "daemon/core/events.h"

namespace mrlease::core {

enum class Phase : std::uint8_t {
  Queued,
  Complying,  // leases are getting out of the way
  Holding,    // a freeze that holds
  Passing,    // answered; the operation may be running (perhaps overdue)
  Restoring,  // the operation has left (or a freeze thaws): leases get back what they can have
  Done
};

enum class Step : std::uint8_t {
  Begin,
  Recalled,  // the client has been asked
  Working,   // the daemon's worker has
  Fenced,    // its lease is being fenced; the fence's end is waited for
  Ending,    // its lease is going away; that is waited for
  Late,      // did not comply, and policy denied the operation instead of fencing
  Complied,  // out of the way; has something to get afterwards
  Out        // nothing more
};

struct Part {
  LeaseId lease = 0;
  Row row;
  Extent extent;
  Step step = Step::Begin;
  RecallId recall = 0;  // Recalled, Late
};

struct Break {
  event::RequestBreak ask;
  Phase phase = Phase::Queued;
  std::vector<Part> parts;
  std::size_t pending = 0;     // parts that the present phase waits for
  std::list<Break*>::iterator place;
  std::unordered_multimap<LeaseId, std::size_t> by_lease;  // overdue: its parts
  bool answered = false;
  bool adopted = false;        // a predecessor had asked for its first half
  bool denied = false;
  bool behind = false;         // others were there before it: the file may not end where it did when this was asked
  bool has_after = false;      // some lease gets something afterwards, or a size has to be learned
  bool told = false;           // a report was made of it running through a freeze
  int answer = 0;              // Sync: what the first failed fsync said
  bool left = false;           // the operation is over (perhaps before it was allowed: its task was killed)
  std::uint64_t size = 0;      // of the file, when it left
  // Freeze:
  bool thaw_wanted = false;
  bool expired = false;        // thawed by somebody else than who asks
  std::vector<RequestId> thawers;

  Extent extent() const;       // what it touches
};

// A request that waits behind a break. size: the newest that was learned meanwhile.
struct WaitingGrant {
  event::RequestLease ask;
  std::optional<std::uint64_t> size;
};
struct WaitingExtend {
  event::ExtendLease ask;
};

struct FileQueue {
  std::list<Break*> breaks;    // in the order of arrival, until done
  std::vector<Break*> active;  // Complying, Passing, Restoring
  std::vector<Break*> frozen;  // Holding
  // Passing beyond its bound, or left since then and not restored yet: out of the line, its leases stay revoked.
  std::vector<Break*> overdue;
  std::vector<WaitingGrant> grants;
  std::vector<WaitingExtend> extends;
  bool idle() const { return breaks.empty() && grants.empty() && extends.empty(); }
};

}  // namespace mrlease::core
