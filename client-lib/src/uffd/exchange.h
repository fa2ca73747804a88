// SPDX-License-Identifier: Apache-2.0
// The transparent exchange: the mapping under an on-demand memory region goes from the file to a store and back, while
// device and CPU go on; at most they wait. No verbs here: a CPU thread that stores is as good as a device.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>

#include "client-lib/src/region/orphans.h"
#include "client-lib/src/region/segments.h"
#include "client-lib/src/region/store.h"
#include "client-lib/src/uffd/pagemap.h"
#include "client-lib/src/uffd/resolver.h"

namespace mrlease::client {

struct ExchangeStats {
  std::uint64_t freezes = 0, pages_merged = 0, stall_us_max = 0, rounds = 0;
  OrphanStats orphans;
};

// Not thread-safe: the region's operation lock protects it. Never called on the resolver thread.
class Exchange {
 public:
  Exchange(Resolver& resolver, const Pagemap& pagemap, Layout layout, MergeFn merge, std::uint32_t peer_budget_ms);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // Asks the application to be quiet until the thaw or settle is over: when its last merge would stall the peer beyond
  // the budget.
  using AskQuiet = std::function<void(Deadline)>;
  void on_long_stall(AskQuiet ask) { ask_quiet_ = std::move(ask); }
  void set_budget(std::uint32_t peer_budget_ms) { budget_us_ = peer_budget_ms * 1000ull; }  // thread-safe

  // Tells that another daemon has taken over, by another number, and when that was.
  void on_daemons(std::function<std::uint64_t()> daemons, std::function<Deadline()> took_over) {
    daemons_ = std::move(daemons);
    took_over_ = std::move(took_over);
  }

  Outcome start();  // makes the second mapping that pages are filled from

  // [offset, offset + length) of the file: the store's pages, filled from the file when they are first touched. Pages
  // that are on another store go over to this one with their content.
  Outcome freeze(Store store, std::uint64_t offset, std::uint64_t length);
  // Fill the pages of the store that lie before that page from the file now, before a truncate takes them away.
  Outcome prefill(std::uint64_t store, Deadline until, std::uint64_t end = ~0ull);
  // What was written goes into the file, the file under the region again. On failure the store stays: nothing is lost.
  Outcome thaw(std::uint64_t store, Deadline until);
  // After a trim: pages of the store that are on the file (it has file_size bytes) are thawed, others orphaned.
  Outcome settle(std::uint64_t store, std::uint64_t file_size, Deadline until);
  // Fenced: the file under all that is not orphaned; whoever waits goes on. Nothing is merged (the daemon did). Of a store that
  // could not be merged (a full disk), the pages that it has stay where they are: what was written is nowhere else.
  Outcome restore();
  Outcome thaw_all(Deadline until);

  const Segments& segments() const { return segments_; }
  // What settle() has left off the file; for when that has grown.
  Orphans& orphans() { return orphans_; }
  const Orphans& orphans() const { return orphans_; }
  ExchangeStats stats() const {
    ExchangeStats all = stats_;
    all.orphans = orphans_.stats();
    return all;
  }

 private:
  struct Delta {
    PageSet pages;
    std::uint64_t count = 0;
  };
  struct Pace {
    std::uint64_t us = 0, pages = 0;
  };

  char* at(std::uint64_t page) const { return layout_.base + page * kPage; }
  Store& store_of(const Segment& s) { return *stores_.at(s.store); }
  Outcome swap_in(Store& store, const Segment& s);
  Outcome make_store_mapping(Store& store, const Segment& s, char** out);
  Outcome move_over(Store& to, const Segment& s);
  Outcome thaw_segment(const Segment& s, Deadline until);
  Outcome rounds(const Segment& s, Deadline until, Pace* pace);
  Outcome gate(const Segment& s, char* incoming, std::uint64_t* stall_us);
  Outcome last_delta(const Segment& s, const char* moved, Delta* delta);
  Outcome merge(const Segment& s, const Delta& delta);
  void set_gate(const Segment* s);
  void forget_pages(const Segment& s);
  void take_touched(const Segment& s, Delta* delta);
  void give_touched(const Segment& s, const Delta& delta);
  void drop_unused_stores();
  void adopt_orphans();

  Resolver& resolver_;
  const Pagemap& pagemap_;
  const Layout layout_;
  const MergeFn merge_;
  std::atomic<std::uint64_t> budget_us_;
  AskQuiet ask_quiet_;
  std::function<std::uint64_t()> daemons_ = [] { return std::uint64_t{0}; };
  std::function<Deadline()> took_over_;
  std::shared_ptr<Watch> watch_;
  Segments segments_;
  std::map<std::uint64_t, std::unique_ptr<Store>> stores_;
  Orphans orphans_{layout_, segments_};
  ExchangeStats stats_;
};

}  // namespace mrlease::client
