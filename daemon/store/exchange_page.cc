// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/exchange_page.h"

#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "daemon/store/file_work.h"

namespace mrlease::store {

namespace {

using Word = std::uint64_t;

Word word_of(const char* page, std::uint64_t i) {
  Word word;
  std::memcpy(&word, page + i * sizeof word, sizeof word);
  return word;
}

// Calls visit(i, was, becomes) for each word that differs.
template <class Visit>
void each_word(const char* was, const char* becomes, Visit visit) {
  for (std::uint64_t i = 0; i < kPage / sizeof(Word); i++) {
    const Word old = word_of(was, i), fresh = word_of(becomes, i);
    if (old != fresh) visit(i, old, fresh);
  }
}

bool replace(Word* word, Word old, Word fresh) { return std::atomic_ref<Word>(*word).compare_exchange_strong(old, fresh); }

}  // namespace

// A write(2) into the memfd would undo what the device writes between our look at the page and it: a write that its sender has
// seen acknowledged after the foreign operation was over. So each word changes only if it is as it was.
//
// That is not enough: the device may have written a word, or the first bytes of its write, that are the same as before. It has written, or
// goes on to write, others too; then all goes back, and the page is the device's. (Seen once, in a soak: the first byte of an
// unaligned write, 0x75 before and after, was a punched hole's zero, and the other 4,000 were the write's.)
int exchange_page(int memfd, std::uint64_t offset, const char* was, const char* becomes) {
  void* const mapped = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, static_cast<off_t>(offset));
  if (mapped == MAP_FAILED) return errno;
  auto* const words = static_cast<Word*>(mapped);
  bool met = false;
  each_word(was, becomes, [&](std::uint64_t i, Word old, Word fresh) { met |= !replace(&words[i], old, fresh); });
  each_word(was, becomes, [&](std::uint64_t i, Word, Word fresh) { met |= std::atomic_ref<Word>(words[i]).load() != fresh; });
  if (met) each_word(was, becomes, [&](std::uint64_t i, Word old, Word fresh) { replace(&words[i], fresh, old); });
  ::munmap(mapped, kPage);
  return met ? EBUSY : 0;
}

}  // namespace mrlease::store
