// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/page_hash.h"

#include <sys/random.h>
#include <xxhash.h>

#include <atomic>
#include <cerrno>
#include <system_error>

#include "daemon/store/file_work.h"

namespace mrlease::store {
namespace {

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  if (::getrandom(&seed, sizeof seed, 0) != static_cast<ssize_t>(sizeof seed)) {
    throw std::system_error(errno, std::generic_category(), "cannot get a random key for page hashes");
  }
  return seed;
}

std::atomic<std::uint64_t> inherited_seed{0};  // 0: none

}  // namespace

std::uint64_t hash_seed() {
  static const std::uint64_t seed = inherited_seed != 0 ? inherited_seed.load() : random_seed();
  return seed;
}

void set_hash_seed(std::uint64_t seed) { inherited_seed = seed; }

PageHash hash_page(const char* page) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(page, kPage, hash_seed());
  return {hash.low64, hash.high64};
}

}  // namespace mrlease::store
