// SPDX-License-Identifier: Apache-2.0
// What the load writes into a page, and the table that says what must be there.
//
// A stamp is a sequence number and the page's own number, so that a write that lands elsewhere shows. Aligned: the page
// is 512 times the stamp. Unaligned: an odd number of bytes from an odd offset (both fixed for a page) repeats the
// stamp. Page 0 belongs to the atomics: its first word counts fetch-and-adds.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <ctime>

namespace mrlease::load {

inline constexpr std::uint64_t kPage = 4096;
inline constexpr std::uint64_t kPageBits = 20;  // of a stamp

inline std::uint64_t make_stamp(std::uint64_t sequence, std::uint64_t page) { return sequence << kPageBits | page; }
// What somebody else writes into a page: no sender ever gets that far.
inline std::uint64_t foreign_stamp(std::uint64_t page) { return make_stamp(1ull << 43, page); }
inline std::uint64_t stamp_page(std::uint64_t stamp) { return stamp & ((1u << kPageBits) - 1); }

struct Part {
  std::uint32_t offset, length;  // within the page
};
inline Part part_of(std::uint64_t page, bool unaligned) {
  if (!unaligned) return {0, kPage};
  return {static_cast<std::uint32_t>(13 + 2 * (page % 8)), static_cast<std::uint32_t>(4001 + 2 * (page % 34))};
}

inline void fill(char* to, std::uint32_t length, std::uint64_t stamp) {
  std::uint32_t i = 0;
  for (; i + 8 <= length; i += 8) std::memcpy(to + i, &stamp, 8);
  std::memcpy(to + i, &stamp, length - i);
}
// The first `length` bytes repeat one value. Needs length >= 8.
inline bool uniform(const char* from, std::uint32_t length) { return std::memcmp(from, from + 8, length - 8) == 0; }
inline std::uint64_t word(const char* from) {
  std::uint64_t value;
  std::memcpy(&value, from, 8);
  return value;
}

inline std::uint64_t now_ns() {  // one clock for all processes of the guest
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}

// The last acknowledged write of a page.
struct Acked {
  std::uint64_t stamp, post_ns, ack_ns;
};
// A file that the sender maps and writes all the time; others read it while the sender is quiet (the counters: always).
// tests/vm/load/drive.py reads the counters: keep the order.
struct Table {
  std::uint64_t pages, unaligned;
  std::atomic<std::uint64_t> ops, errors, mask, atomics;
  Acked acked[1];  // `pages` of them
};
inline std::uint64_t table_bytes(std::uint64_t pages) { return sizeof(Table) + pages * sizeof(Acked); }

}  // namespace mrlease::load
