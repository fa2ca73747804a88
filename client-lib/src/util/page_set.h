// SPDX-License-Identifier: Apache-2.0
// A set of pages [0, size()), as a bitmap. Who walks it pays for the pages that are in it, and for a word of 64 that are not: a thaw of few
// pages of a large region does not take the longer for the rest.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace mrlease::client {

class PageSet {
 public:
  explicit PageSet(std::uint64_t size = 0) : size_(size), words_((size + kBits - 1) / kBits, 0) {}

  std::uint64_t size() const { return size_; }
  bool has(std::uint64_t page) const { return (words_[page / kBits] & bit(page)) != 0; }
  // Was it not there?
  bool add(std::uint64_t page) {
    const bool added = !has(page);
    words_[page / kBits] |= bit(page);
    return added;
  }
  void remove(std::uint64_t page) { words_[page / kBits] &= ~bit(page); }
  void remove(std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t at = begin; at < end; at = word_end(at)) words_[at / kBits] &= ~mask(at, end);
  }
  std::uint64_t count() const {
    std::uint64_t pages = 0;
    for (const std::uint64_t word : words_) pages += static_cast<std::uint64_t>(std::popcount(word));
    return pages;
  }
  // The first at or behind `from` that is there; that is not. size(): none.
  std::uint64_t next(std::uint64_t from) const { return find(from, size_, 0); }
  std::uint64_t next_absent(std::uint64_t from) const { return find(from, size_, ~std::uint64_t{0}); }
  // Those of [begin, end), in order. fn may remove the page that it is told.
  template <class Fn>
  void for_each(std::uint64_t begin, std::uint64_t end, Fn fn) const {
    for (std::uint64_t page = find(begin, end, 0); page < end; page = find(page + 1, end, 0)) fn(page);
  }

 private:
  static constexpr std::uint64_t kBits = 64;

  static std::uint64_t bit(std::uint64_t page) { return std::uint64_t{1} << page % kBits; }
  static std::uint64_t word_end(std::uint64_t page) { return (page / kBits + 1) * kBits; }
  // The bits of [begin, end) that are in begin's word.
  static std::uint64_t mask(std::uint64_t begin, std::uint64_t end) {
    const std::uint64_t behind = word_end(begin) <= end ? 0 : word_end(begin) - end;
    return ~std::uint64_t{0} << begin % kBits & ~std::uint64_t{0} >> behind;
  }
  // The first of [begin, end) whose bit is not that of `unwanted`, which is all ones or none; end: none.
  std::uint64_t find(std::uint64_t begin, std::uint64_t end, std::uint64_t unwanted) const {
    for (std::uint64_t at = begin; at < end; at = word_end(at)) {
      const std::uint64_t wanted = (words_[at / kBits] ^ unwanted) & mask(at, end);
      if (wanted != 0) return at / kBits * kBits + static_cast<std::uint64_t>(std::countr_zero(wanted));
    }
    return end;
  }

  std::uint64_t size_;
  std::vector<std::uint64_t> words_;
};

}  // namespace mrlease::client
