// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/load/checker.h"

#include <algorithm>

namespace mrlease::load {
namespace {

std::string show(std::uint64_t stamp) {
  if (!stamp) return "zero";
  return "stamp " + std::to_string(stamp >> kPageBits) + " of page " + std::to_string(stamp_page(stamp));
}

void blame(Verdict* verdict, std::uint64_t* count, std::uint64_t page, const std::string& what) {
  ++*count;
  if (verdict->first.empty()) verdict->first = "page " + std::to_string(page) + ": " + what;
}

// "stamp 5 of page 3 for 1024 bytes, zero for 3072 bytes"
std::string mixture(const char* at, std::uint32_t length) {
  std::string text;
  int parts = 0;
  for (std::uint32_t begin = 0, end; begin + 8 <= length; begin = end) {
    for (end = begin + 8; end + 8 <= length && word(at + end) == word(at + begin);) end += 8;
    if (++parts > 4) return text + ", ...";
    text += (begin ? ", " : "") + show(word(at + begin)) + " for " + std::to_string(end - begin) + " bytes";
  }
  return text;
}

}  // namespace

Checker::Checker(const Table& sender, const Table* stores, std::uint64_t spare)
    : sender_(sender), stores_(stores), spare_(stores ? spare : 0), cuts_(sender.pages) {}

const Acked& Checker::acked(std::uint64_t page) const {
  return (page >= sender_.pages - spare_ ? *stores_ : sender_).acked[page];
}

bool Checker::unaligned(std::uint64_t page) const { return page < sender_.pages - spare_ && sender_.unaligned; }

void Checker::cut(std::uint64_t new_size, std::uint64_t begin_ns) {
  before_last_cut_ = cuts_;
  for (std::uint64_t page = new_size / kPage; page < sender_.pages; ++page) {
    auto from = static_cast<std::uint32_t>(page == new_size / kPage ? new_size % kPage : 0);
    Cut before = cuts_[page];
    if (before.is && acked(page).post_ns > before.end_ns) before.is = false;  // written since
    if (before.is && before.from) from = std::min(from, before.from);         // what was cut then is still zero
    const std::uint64_t unsure = !before.is ? 0 : before.from == 0 ? before.end_ns : before.unsure_ns;
    cuts_[page] = {true, from, begin_ns, UINT64_MAX, unsure, What::Zeroed, 0, 0};
  }
}

void Checker::extended(std::uint64_t end_ns) {
  for (Cut& cut : cuts_)
    if (cut.is && cut.end_ns == UINT64_MAX) cut.end_ns = end_ns;
}

void Checker::reattached(std::uint64_t size, std::uint64_t end_ns) {
  const std::uint64_t whole = (size + kPage - 1) / kPage;
  for (std::uint64_t page = whole; page < sender_.pages; ++page) cuts_[page] = before_last_cut_[page];
  extended(end_ns);
}

void Checker::set(std::uint64_t first, std::uint64_t end, const Cut& cut) {
  std::fill(cuts_.begin() + static_cast<std::ptrdiff_t>(first), cuts_.begin() + static_cast<std::ptrdiff_t>(end), cut);
}

void Checker::zeroed(std::uint64_t first, std::uint64_t end, std::uint64_t begin_ns, std::uint64_t end_ns) {
  set(first, end, {true, 0, begin_ns, end_ns, 0, What::Zeroed, 0, 0});
}

void Checker::written(std::uint64_t first, std::uint64_t end, std::uint64_t begin_ns, std::uint64_t end_ns) {
  set(first, end, {true, 0, begin_ns, end_ns, 0, What::Written, 0, 0});
}

void Checker::moved(std::uint64_t first, std::uint64_t end, std::uint64_t source, const std::vector<Acked>& before,
                    std::uint64_t begin_ns, std::uint64_t end_ns) {
  for (std::uint64_t page = first; page < end; ++page, ++source)
    cuts_[page] = {true, 0, begin_ns, end_ns, 0, What::Moved, source, before[source].stamp};
}

std::vector<Acked> Checker::acked_now() const { return {sender_.acked, sender_.acked + sender_.pages}; }

Verdict Checker::read(const char* copy, const std::vector<Acked>& before) const {
  Verdict verdict;
  for (std::uint64_t page = 1; page < sender_.pages - spare_; ++page) {
    const Part part = part_of(page, unaligned(page));
    const char* const at = copy + page * kPage + part.offset;
    for (std::uint32_t i = 0; i + 8 <= part.length; i += 8) {  // a write may be under way, so that not all of it is one stamp
      const std::uint64_t came = word(at + i);
      if (came >= before[page].stamp && (came == 0 || stamp_page(came) == page)) continue;
      blame(&verdict, &verdict.lost, page, show(came) + " was read, after " + show(before[page].stamp) + " was acknowledged");
      break;
    }
  }
  return verdict;
}

Verdict Checker::verify(const char* file) {
  Verdict verdict = verify_from(1, file);
  const std::uint64_t counted = word(file);
  if (counted < sender_.atomics || (!ended_ && counted != sender_.atomics))  // some may have been on their way
    blame(&verdict, &verdict.lost, 0,
          std::to_string(counted) + " instead of " + std::to_string(sender_.atomics) + " fetch-and-adds");
  return verdict;
}

Verdict Checker::verify_from(std::uint64_t page, const char* file) {
  Verdict verdict;
  for (; page < sender_.pages; ++page) verify_page(page, file + page * kPage, &verdict);
  return verdict;
}

// The sender has ended before it heard that this was written: it may be there, or the start of it.
bool Checker::under_way(std::uint64_t came, const Acked& last, std::uint64_t page) const {
  return ended_ && came > last.stamp && stamp_page(came) == page;
}

void Checker::verify_page(std::uint64_t page, const char* at, Verdict* verdict) {
  const Acked& last = acked(page);
  const Part part = part_of(page, unaligned(page));
  Cut& cut = cuts_[page];
  if (cut.is && last.post_ns > cut.end_ns) cut.is = false;
  if (cut.is) return verify_cut_page(cut, last, part, page, at, verdict);
  const std::uint64_t came = word(at + part.offset);
  if (under_way(came, last, page)) {
    return;
  } else if (came != last.stamp) {
    blame(verdict, &verdict->lost, page, show(came) + " instead of " + show(last.stamp));
  } else if (!uniform(at + part.offset, part.length)) {
    blame(verdict, &verdict->lost, page, "only the start of " + show(last.stamp));
  }
}

void Checker::verify_cut_page(const Cut& cut, const Acked& last, const Part& part, std::uint64_t page, const char* at,
                              Verdict* verdict) const {
  if (cut.what != What::Zeroed) return verify_mixed_page(cut, last, page, at + part.offset, verdict);
  const std::uint64_t came = word(at + part.offset);
  if (cut.from > part.offset) {  // the head of this page was never off the file; its tail may be old, new or zero
    const std::uint32_t head = std::min(cut.from - part.offset, part.length);
    if (head < 8) return;
    const bool may_be_zero = last.post_ns <= cut.unsure_ns && came == 0;
    if ((came != last.stamp && !may_be_zero) || !uniform(at + part.offset, head))
      blame(verdict, &verdict->lost, page, show(came) + " before the cut instead of " + show(last.stamp));
    return;
  }
  if (under_way(came, last, page)) {
    return;
  } else if (!uniform(at + part.offset, part.length)) {
    blame(verdict, &verdict->lost, page, "mixed after a cut, starts with " + show(came));
  } else if (came && came != last.stamp) {
    blame(verdict, &verdict->risen, page, show(came) + " after a cut");
  } else if (came && last.ack_ns < cut.begin_ns) {
    blame(verdict, &verdict->risen, page, show(came) + " from before the cut");
  }
}

// Whole words of what the operation brought, and of the last write if that was not over before it.
void Checker::verify_mixed_page(const Cut& cut, const Acked& last, std::uint64_t page, const char* at, Verdict* verdict) const {
  const bool both = last.ack_ns >= cut.begin_ns;
  for (std::uint32_t i = 0; i + 8 <= part_of(page, unaligned(page)).length; i += 8) {
    const std::uint64_t came = word(at + i);
    if (both && came == last.stamp) continue;
    if (cut.what == What::Written && came == foreign_stamp(page)) continue;
    if (cut.what == What::Moved && came >= cut.least && (came == 0 || stamp_page(came) == cut.source)) continue;
    const std::string due = cut.what == What::Written ? "what others wrote" : show(cut.least) + " or later, moved there";
    if (came != 0 && came == last.stamp) return blame(verdict, &verdict->risen, page, show(came) + " instead of " + due);
    return blame(verdict, &verdict->lost, page, show(came) + " instead of " + due);
  }
}

Verdict Checker::torn(const char* copy) const {
  Verdict verdict;
  // A thread that is in the middle of filling a page cannot be frozen between two pages: those pages may mix.
  for (std::uint64_t page = 1; page < sender_.pages - spare_; ++page) {
    const Part part = part_of(page, unaligned(page));
    const Cut& cut = cuts_[page];
    std::uint32_t length = part.length;
    if (cut.is && cut.from) length = cut.from > part.offset ? std::min(cut.from - part.offset, length) : 0;
    if (length < 8) continue;
    const char* at = copy + page * kPage + part.offset;
    if (!uniform(at, length)) {
      blame(&verdict, &verdict.torn, page, mixture(at, length) + (cut.is ? "; cut off before" : ""));
    } else if (word(at) && stamp_page(word(at)) != page) {
      blame(&verdict, &verdict.torn, page, show(word(at)));
    }
  }
  return verdict;
}

}  // namespace mrlease::load
