// SPDX-License-Identifier: Apache-2.0
// What lies under each page of a region: the file, a store that a recall brought, or orphaned pages. Pure.
#pragma once

#include <cstdint>
#include <vector>

namespace mrlease::client {

// Pages [begin, end) of the region, counted from its start.
struct Segment {
  enum class Kind : std::uint8_t { File, Store, Orphan };
  std::uint64_t begin = 0, end = 0;
  Kind kind = Kind::File;
  std::uint64_t store = 0;  // Store, Orphan: whose pages
  bool operator==(const Segment&) const = default;
  std::uint64_t pages() const { return end - begin; }
};

// Always covers [0, pages) without gap or overlap. Not thread-safe: the region's lock protects it.
class Segments {
 public:
  explicit Segments(std::uint64_t pages);

  const std::vector<Segment>& all() const { return list_; }
  std::uint64_t pages() const { return list_.empty() ? 0 : list_.back().end; }
  // What lies in [begin, end), cut to it.
  std::vector<Segment> in(std::uint64_t begin, std::uint64_t end) const;
  // The Store segments of that store (not its orphans).
  std::vector<Segment> of_store(std::uint64_t store) const;
  // Those that were cut off, in [0, end).
  std::vector<Segment> orphans(std::uint64_t end) const;
  // Where they begin: how many pages are on the file, or on what will go back to it. pages(): there are none.
  std::uint64_t first_orphan() const;
  bool uses(std::uint64_t store) const;  // Store or Orphan
  // Neighbours of kind File are joined. Segments of a store are not: each is a mapping of its own, and mremap(2) moves
  // one mapping at a time.
  void set(std::uint64_t begin, std::uint64_t end, Segment::Kind kind, std::uint64_t store = 0);

 private:
  std::vector<Segment> list_;
};

}  // namespace mrlease::client
