// SPDX-License-Identifier: Apache-2.0
// What must be in the file, told from the tables and from the cuts. Pure: pages come in as bytes.
//
// lost: a page, never cut off since, that lacks its last acknowledged stamp. risen: a page that was cut off and shows
// what was written before. torn: a page of a frozen copy that mixes stamps. A write that was acknowledged while a cut
// was under way may be either; where others wrote at the same time, or moved pages, a page may mix what either had.
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
  // It is, with all that it had before the last cut, which was to size, and what was written since. The page of an odd end lacks what
  // was behind that.
  void reattached(std::uint64_t size, std::uint64_t end_ns);
  // Pages [first, end) by an operation of somebody else that ran from begin_ns to end_ns: they were zeroed; written with
  // foreign_stamp(); have what the pages from `source` on had, whose last writes acknowledged before it are `before`.
  void zeroed(std::uint64_t first, std::uint64_t end, std::uint64_t begin_ns, std::uint64_t end_ns);
  void written(std::uint64_t first, std::uint64_t end, std::uint64_t begin_ns, std::uint64_t end_ns);
  void moved(std::uint64_t first, std::uint64_t end, std::uint64_t source, const std::vector<Acked>& before, std::uint64_t begin_ns,
             std::uint64_t end_ns);
  // The lease ended, and with it writes that were under way: a page may show one that was never acknowledged.
  void ended() { ended_ = true; }
  // The last acknowledged writes of now.
  std::vector<Acked> acked_now() const;
  // A copy that was read while the sender went on, after `before`: nothing older than that. No operation has changed the file.
  Verdict read(const char* copy, const std::vector<Acked>& before) const;
  // The file, whole, while nobody writes; both tables stand still.
  Verdict verify(const char* file);
  // The pages from this one on, of the file or of a memory that holds them at the same place.
  Verdict verify_from(std::uint64_t page, const char* file);
  // A frozen copy, while the sender writes.
  Verdict torn(const char* copy) const;

 private:
  enum class What { Zeroed, Written, Moved };
  struct Cut {
    bool is = false;
    std::uint32_t from = 0;  // within the page: what lies before stayed
    std::uint64_t begin_ns = 0, end_ns = 0;
    std::uint64_t unsure_ns = 0;  // what was posted until then may have been discarded by an earlier cut
    What what = What::Zeroed;
    std::uint64_t source = 0, least = 0;  // Moved: whose page it was, and its last stamp before
  };
  const Acked& acked(std::uint64_t page) const;
  bool unaligned(std::uint64_t page) const;
  void verify_page(std::uint64_t page, const char* at, Verdict* verdict);
  void set(std::uint64_t first, std::uint64_t end, const Cut& cut);
  void verify_mixed_page(const Cut& cut, const Acked& last, std::uint64_t page, const char* at, Verdict* verdict) const;
  bool under_way(std::uint64_t came, const Acked& last, std::uint64_t page) const;
  void verify_cut_page(const Cut& cut, const Acked& last, const Part& part, std::uint64_t page, const char* at,
                       Verdict* verdict) const;

  const Table& sender_;
  const Table* stores_;
  const std::uint64_t spare_;
  std::vector<Cut> cuts_, before_last_cut_;
  bool ended_ = false;
};

}  // namespace mrlease::load
