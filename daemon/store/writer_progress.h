// SPDX-License-Identifier: Apache-2.0
// Do the remote writers get on? Told from a sample of a lease's bounce pages.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "daemon/store/page_hash.h"

namespace mrlease::store {

using Pages = std::vector<std::uint64_t>;  // ascending page numbers within the lease

// A remote writer writes its pages one after the other: while other pages change, it is not in the middle of one that
// stands still. While nothing changes at all, it has either finished or is held up, perhaps in the middle of a page.
class WriterProgress {
 public:
  explicit WriterProgress(int memfd) : memfd_(memfd) {}  // is not taken over
  // Remembers what a sample looks like now: some of the first `count` pages of the lease, and some of `likely`.
  void mark(std::uint64_t count, const Pages& likely);
  // Has a page of the sample changed since mark()?
  bool moved() const;

 private:
  void sample(std::uint64_t page);

  const int memfd_;
  std::vector<std::pair<std::uint64_t, PageHash>> seen_;
};

}  // namespace mrlease::store
