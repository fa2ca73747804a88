// SPDX-License-Identifier: Apache-2.0
// Which region lies at an address: a registration of what is registered already is one more reference to it. A hit costs no
// lock and no system call where the thread has looked there before.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <shared_mutex>

namespace mrlease::client {

// One entry, counted. Whoever owns its memory uses it again for other ranges and frees it after the cache only: so a thread may
// look at one that has ended, or that is another by now, and finds that out by its number. Thread-safe.
class CachedRange {
 public:
  // True: it was the last; who gets that ends it.
  bool put() { return (state_.fetch_sub(1, std::memory_order_acq_rel) & kReferences) == 1; }
  bool covers(std::uint64_t address, std::uint64_t length) const {
    const std::uint64_t base = base_.load(std::memory_order_relaxed);
    return address >= base && address - base <= length_ && length <= length_ - (address - base);
  }

 private:
  friend class RegistrationCache;
  // How many ranges it has been, and the references to this one.
  static constexpr std::uint64_t kLife = 1ull << 32, kReferences = kLife - 1;
  std::uint64_t life() const { return state_.load(std::memory_order_relaxed) & ~kReferences; }
  bool take(std::uint64_t life) {
    std::uint64_t now = state_.load(std::memory_order_relaxed);
    do {
      if (now <= life || now - life >= kLife) return false;
    } while (!state_.compare_exchange_weak(now, now + 1, std::memory_order_acquire, std::memory_order_relaxed));
    return true;
  }
  std::atomic<std::uint64_t> base_{0}, length_{0}, state_{0};
};

// Thread-safe. Ranges that are alive at the same time do not overlap.
class RegistrationCache {
 public:
  RegistrationCache();
  RegistrationCache(const RegistrationCache&) = delete;
  RegistrationCache& operator=(const RegistrationCache&) = delete;

  // The entry that covers [address, address + length), with one more reference; null: none.
  CachedRange* find(std::uint64_t address, std::uint64_t length) {
    // By page, multiplicative hashing: buffers tend to lie at equal distances.
    Slot& slot = slots_[(address >> 12) * 0x9e3779b97f4a7c15 >> (64 - kSlotBits)];
    // If the range is of another life when it is looked at, it does not get as far as being taken.
    if (slot.cache == id_ && slot.range->covers(address, length) && slot.range->take(slot.life)) [[likely]]
      return slot.range;
    return find_slowly(address, length, slot);
  }
  // The entry has one reference, its owner's.
  void add(CachedRange* range, std::uint64_t address, std::uint64_t length);
  // After put() has said that it was the last.
  void remove(CachedRange* range);

 private:
  // Per thread and by page: the entries that it has found last.
  static constexpr unsigned kSlotBits = 9;
  struct Slot {
    std::uint64_t cache = 0, life = 0;
    CachedRange* range = nullptr;
  };
  static thread_local std::array<Slot, 1u << kSlotBits> slots_;

  CachedRange* find_slowly(std::uint64_t address, std::uint64_t length, Slot& slot);

  const std::uint64_t id_;  // of no other cache that this process has had
  std::shared_mutex mutex_;
  std::map<std::uint64_t, CachedRange*> by_base_;
};

}  // namespace mrlease::client
