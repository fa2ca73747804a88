// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/writer_progress.h"

#include <algorithm>

#include "daemon/store/file_work.h"
#include "daemon/store/page_io.h"

namespace mrlease::store {
namespace {

// Of each of the two kinds. Enough to see a writer within a pause wherever it writes; looked at within a millisecond.
constexpr std::uint64_t kSample = 128;

bool hash_of(int memfd, std::uint64_t page, PageHash* hash) {
  char copy[kPage];
  if (read_zero_filled(memfd, copy, kPage, page * kPage) != 0) return false;
  *hash = hash_page(copy);
  return true;
}

// Calls take(i) for at most kSample of the numbers below count, evenly.
template <class Take>
void evenly(std::uint64_t count, Take take) {
  const std::uint64_t n = std::min(count, kSample);
  for (std::uint64_t i = 0; i < n; i++) take(i * count / n);
}

}  // namespace

void WriterProgress::sample(std::uint64_t page) {
  PageHash hash;
  if (hash_of(memfd_, page, &hash)) seen_.emplace_back(page, hash);
}

void WriterProgress::mark(std::uint64_t count, const Pages& likely) {
  seen_.clear();
  evenly(count, [&](std::uint64_t page) { sample(page); });
  if (count > kSample) evenly(likely.size(), [&](std::uint64_t i) { sample(likely[i]); });
}

bool WriterProgress::moved() const {
  return std::any_of(seen_.begin(), seen_.end(), [this](const auto& page) {
    PageHash now;
    return hash_of(memfd_, page.first, &now) && now != page.second;
  });
}

}  // namespace mrlease::store
