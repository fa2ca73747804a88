// SPDX-License-Identifier: Apache-2.0
// What truncates have cut off from under a region, and its memory still holds: the stores of their TRIMs, which the daemon has
// forgotten. The mapping is theirs; nobody watches it, and a page that is missing is zeros.
#pragma once

#include <cstdint>
#include <map>

#include "client-lib/src/region/segments.h"
#include "client-lib/src/region/store.h"

namespace mrlease::client {

// In bytes, of whole pages.
struct OrphanStats {
  std::uint64_t kept = 0, discarded = 0, reattached = 0;
};

// Not thread-safe: the region's operation lock protects it. layout and segments outlive it.
class Orphans {
 public:
  Orphans(const Layout& layout, Segments& segments) : layout_(layout), segments_(segments) {}

  // The segments of kind Orphan of that store are this one's from now on, by numbers that no daemon gives. What else it had is
  // dropped. Nothing else of it may be mapped.
  void adopt(Store store);
  // Those in the first `end` pages are the file's pages again, and what they held is dropped.
  Outcome extend(std::uint64_t end);
  // The same, and what they hold is merged into the file before. A piece at a time: EINPROGRESS says that there are more. After a failure
  // what is not on the file is an orphan as before. What is written to a piece between its merge and its new mapping is lost.
  Outcome reattach(std::uint64_t end, const MergeFn& merge);
  // What was cut off before that holds zeros from now on, and takes no memory.
  void discard(Deadline cut_before);
  // Over what the daemon has poisoned.
  Outcome map_again();

  // Where in the file the first begins; all ones: there are none.
  std::uint64_t first() const {
    const std::uint64_t page = segments_.first_orphan();
    return page == segments_.pages() ? ~0ull : layout_.file_offset + page * kPage;
  }
  const OrphanStats& stats() const { return stats_; }

 private:
  struct Kept {
    Store store;
    Deadline cut;
  };
  std::uint64_t first_byte(const Segment& s) const { return layout_.file_offset + s.begin * kPage; }
  std::uint64_t drop(const Kept& kept, std::uint64_t first_byte, std::uint64_t pages);
  Outcome to_file(const Segment& s);
  void forget_unused();

  const Layout& layout_;
  Segments& segments_;
  std::map<std::uint64_t, Kept> stores_;
  std::uint64_t last_ = std::uint64_t{1} << 63;  // no number of a daemon's: they count from 1
  OrphanStats stats_;
};

}  // namespace mrlease::client
