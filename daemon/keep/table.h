// SPDX-License-Identifier: Apache-2.0
// A table of records in kept memory. A kill at any instruction leaves a record that is there, or not there: it is marked
// after it is written, and what is changed later is changed by single stores of its fields.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>
#include <vector>

namespace mrlease::keep {

using Slot = std::uint32_t;
inline constexpr Slot kNoSlot = 0xffffffff;

// Not thread-safe.
template <typename Record>
class Table {
 public:
  static constexpr std::size_t kHead = 64, kMax = Record::kMax;
  static constexpr std::size_t kBytes = kHead + Record::kMax * Record::kSize;
  static_assert(sizeof(Record) + 8 <= Record::kSize);

  // memory: kBytes of it, zeros when new.
  explicit Table(void* memory) : base_(static_cast<char*>(memory)) {
    if (reach() > Record::kMax) throw std::runtime_error("kept memory is damaged");
    for (Slot i = reach(); i-- > 0;)
      if (!used(i).load(std::memory_order_acquire)) free_.push_back(i);
  }

  // kNoSlot: full.
  Slot put(const Record& record) {
    Slot slot = kNoSlot;
    if (!free_.empty()) {
      slot = free_.back();
      free_.pop_back();
    } else if (reach() < Record::kMax) {
      slot = reach();
      std::memset(at_raw(slot), 0, Record::kSize);
      head()->store(slot + 1, std::memory_order_release);
    } else {
      return kNoSlot;
    }
    std::memcpy(at_raw(slot) + 8, &record, sizeof record);
    used(slot).store(1, std::memory_order_release);
    return slot;
  }

  void clear(Slot slot) {
    if (slot == kNoSlot) return;
    used(slot).store(0, std::memory_order_release);
    free_.push_back(slot);
  }

  Record& at(Slot slot) { return *reinterpret_cast<Record*>(at_raw(slot) + 8); }

  template <typename F>
  void each(F&& f) {  // f(slot, record); may clear the slot that it is called with
    for (Slot i = 0; i < reach(); i++)
      if (used(i).load(std::memory_order_acquire)) f(i, at(i));
  }

  std::size_t count() {
    std::size_t n = 0;
    each([&](Slot, Record&) { n++; });
    return n;
  }

 private:
  using Word = std::atomic<std::uint32_t>;
  Word* head() { return reinterpret_cast<Word*>(base_); }
  Slot reach() { return head()->load(std::memory_order_acquire); }
  char* at_raw(Slot slot) { return base_ + kHead + slot * Record::kSize; }
  Word& used(Slot slot) { return *reinterpret_cast<Word*>(at_raw(slot)); }

  char* base_;
  std::vector<Slot> free_;
};

}  // namespace mrlease::keep
