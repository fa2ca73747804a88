// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/exchange_page.h"

#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "daemon/store/file_work.h"

namespace mrlease::store {

// A write(2) into the memfd would undo what the device writes between our look at the page and it: a write that its sender has
// seen acknowledged after the foreign operation was over.
int exchange_page(int memfd, std::uint64_t offset, const char* was, const char* becomes) {
  using Word = std::uint64_t;
  void* const mapped = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, static_cast<off_t>(offset));
  if (mapped == MAP_FAILED) return errno;
  auto* const words = static_cast<Word*>(mapped);
  for (std::uint64_t i = 0; i < kPage / sizeof(Word); i++) {
    Word old, fresh;
    std::memcpy(&old, was + i * sizeof old, sizeof old);
    std::memcpy(&fresh, becomes + i * sizeof fresh, sizeof fresh);
    if (old != fresh) std::atomic_ref<Word>(words[i]).compare_exchange_strong(old, fresh);
  }
  ::munmap(mapped, kPage);
  return 0;
}

}  // namespace mrlease::store
