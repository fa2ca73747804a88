// SPDX-License-Identifier: Apache-2.0
// A backing: how one region complies with recalls. The region offers what a backing needs by Services.
#pragma once

#include <memory>

#include "client-lib/src/region/store.h"
#include "client-lib/src/uffd/exchange.h"
#include "mrlease/mrlease.h"
#include "proto/framing.h"

namespace mrlease::client {

struct RecallOrder {
  wire::v1::Recall recall;
  wire::Fd store;  // FREEZE, TRIM
  Deadline deadline;
  std::uint64_t daemon = 0;   // Region's count, when it came
  std::uint64_t daemons = 0;  // Services::daemons(), then
};

// Of what a truncate is about to cut off.
struct OrphanLimits {
  bool preserve = false;        // it is copied before
  std::uint64_t bytes_max = 0;  // of it, from its start; 0: no limit
};

class Services {
 public:
  virtual ~Services() = default;
  virtual const Layout& layout() const = 0;
  virtual std::uint64_t length() const = 0;  // as asked for, not rounded to pages
  virtual std::uint64_t on_file() const = 0;  // what of it the file has: not what was cut off, if it has grown since
  virtual const Pagemap& pagemap() const = 0;
  // Close the posting guard, ask the application, wait until it is quiet.
  virtual Outcome quiesce(const RecallOrder& order) = 0;
  // Peers may use the memory region: nobody was asked to be quiet, or all have been told to go on.
  virtual bool in_use() const = 0;
  // Deregister with the daemon's consent; register the first `bytes` and tell the daemon. EKEYREVOKED: fenced.
  virtual Outcome drop_mr() = 0;
  virtual Outcome make_mr(std::uint64_t bytes) = 0;
  virtual Outcome merge(const Store& store, const std::vector<protocol::FileRange>& ranges) = 0;
  // Changes when another daemon has taken over: what was asked for meanwhile has waited for it.
  virtual std::uint64_t daemons() const = 0;
  virtual Deadline took_over() const = 0;  // when that was: from then on who waits for a recall counts its time
  // Tell the application. restored() opens the posting guard.
  virtual void restored(mrl_backing now) = 0;
  virtual OrphanLimits orphan_limits() const = 0;  // of now
  virtual void set_file_size(std::uint64_t file_size) = 0;  // TRIMMED when the region got shorter
};

// What becomes of what was cut off, when the file has grown again.
enum class TakeBack : std::uint8_t { Discard, Reattach };

// Called under the region's operation lock.
class Backing {
 public:
  virtual ~Backing() = default;
  virtual Outcome comply(RecallOrder order) = 0;
  // EINPROGRESS: a piece is done. Call again, and let recalls go first.
  virtual Outcome extend(std::uint64_t file_size, TakeBack how) = 0;
  // What was cut off before that.
  virtual void discard_orphans(Deadline) {}
  virtual std::uint64_t first_orphan() const { return ~0ull; }  // where in the file; all ones: none
  // Before the lease is given up: what only this process can see goes to where the daemon finds it.
  virtual void surrender() {}
  // The daemon is gone, or will not come: what is owed goes into the file from here.
  virtual Outcome merge_locally() { return {}; }
  // The daemon is gone, another one is about to take over: what is not on the file, by the old one's order, comes back to
  // it. order: to quiesce by, where that is needed.
  virtual Outcome come_back(const RecallOrder&) { return merge_locally(); }
  // Fenced: leave nothing between application and file, nobody waiting; but for what peers wrote and the file has refused.
  virtual void restore() {}
  virtual ExchangeStats stats() const { return {}; }
  // The longest stall of a peer, from now on: the rules of a daemon that has granted the lease anew may say less. Thread-safe.
  virtual void set_peer_budget(std::uint32_t) {}
};

std::unique_ptr<Backing> make_direct(Services& services);
std::unique_ptr<Backing> make_cooperative(Services& services);
std::unique_ptr<Backing> make_bounce(Services& services);
Outcome make_transparent(Services& services, Resolver& resolver, std::uint32_t peer_budget_ms, std::unique_ptr<Backing>* out);

// Bytes of the region, from its start, that a file of that size has.
std::uint64_t bytes_on_file(const Services& services, std::uint64_t file_size);
// The same, rounded up to pages but not beyond the length: what can be registered.
std::uint64_t bytes_to_register(const Services& services, std::uint64_t file_size);
// The page before which a truncate to that size has its tail preserved.
std::uint64_t kept_to(const Services& services, std::uint64_t file_size);
// Takes the size over, of which the region has less where something is an orphan still.
void set_file_size(Services& services, std::uint64_t file_size, const Orphans& orphans);
// Backing::extend() of what has orphans.
Outcome extend_over(Services& services, Orphans& orphans, std::uint64_t file_size, TakeBack how);
Outcome not_for_this_backing(const wire::v1::Recall& recall, const char* backing);

}  // namespace mrlease::client
