// SPDX-License-Identifier: Apache-2.0
// What must be in the file, told from the tables and from the cuts. Pure: pages come in as bytes.
//
// lost: a page, never cut off since, that lacks its last acknowledged stamp. risen: a page that was cut off and shows
// what was written before. torn: a page of a frozen copy that mixes stamps. A write that was acknowledged while a cut
// was under way may be either.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/vm/load/layout.h"

namespace mrlease::load {

struct Verdict {
  std::uint64_t lost = 0, risen = 0, torn = 0;
  std::string first;  // the first page that is wrong, for people
};

class Checker {
 public:
  // stores: nullptr, or the table of the last `spare` pages.
  Checker(const Table& sender, const Table* stores, std::uint64_t spare);
  // The file was cut to new_size by an operation that began at begin_ns.
  void cut(std::uint64_t new_size, std::uint64_t begin_ns);
  // The cut-off part is back on the file as of end_ns.
  void extended(std::uint64_t end_ns);
  // The file, whole, while nobody writes; both tables stand still.
  Verdict verify(const char* file);
  // The pages from this one on, of the file or of a memory that holds them at the same place.
  Verdict verify_from(std::uint64_t page, const char* file);
  // A frozen copy, while the sender writes.
  Verdict torn(const char* copy) const;

 private:
  struct Cut {
    bool is = false;
    std::uint32_t from = 0;  // within the page: what lies before stayed
    std::uint64_t begin_ns = 0, end_ns = 0;
    std::uint64_t unsure_ns = 0;  // what was posted until then may have been discarded by an earlier cut
  };
  const Acked& acked(std::uint64_t page) const;
  bool unaligned(std::uint64_t page) const;
  void verify_page(std::uint64_t page, const char* at, Verdict* verdict);
  void verify_cut_page(const Cut& cut, const Acked& last, const Part& part, std::uint64_t page, const char* at,
                       Verdict* verdict) const;

  const Table& sender_;
  const Table* stores_;
  const std::uint64_t spare_;
  std::vector<Cut> cuts_;
};

}  // namespace mrlease::load
