// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/cache/registration_cache.h"

#include <mutex>

namespace mrlease::client {
namespace {

std::uint64_t next_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

}  // namespace

thread_local std::array<RegistrationCache::Slot, 1u << RegistrationCache::kSlotBits> RegistrationCache::slots_;

RegistrationCache::RegistrationCache() : id_(next_id()) {}

CachedRange* RegistrationCache::find_slowly(std::uint64_t address, std::uint64_t length, Slot& slot) {
  std::shared_lock lock(mutex_);
  const auto after = by_base_.upper_bound(address);
  if (after == by_base_.begin()) return nullptr;
  CachedRange* const range = std::prev(after)->second;
  const std::uint64_t life = range->life();  // stays: add() and remove() want the lock
  if (!range->covers(address, length) || !range->take(life)) return nullptr;
  slot = {id_, life, range};
  return range;
}

void RegistrationCache::add(CachedRange* range, std::uint64_t address, std::uint64_t length) {
  std::unique_lock lock(mutex_);
  range->base_ = address;
  range->length_ = length;
  range->state_ = range->life() + CachedRange::kLife + 1;
  by_base_[address] = range;
}

void RegistrationCache::remove(CachedRange* range) {
  std::unique_lock lock(mutex_);
  const auto found = by_base_.find(range->base_);
  if (found != by_base_.end() && found->second == range) by_base_.erase(found);
}

}  // namespace mrlease::client
