// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/page_hash.h"

#include <sys/random.h>
#include <xxhash.h>

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

}  // namespace

PageHash hash_page(const char* page) {
  static const std::uint64_t seed = random_seed();
  const XXH128_hash_t hash = XXH3_128bits_withSeed(page, kPage, seed);
  return {hash.low64, hash.high64};
}

}  // namespace mrlease::store
