// SPDX-License-Identifier: Apache-2.0
// All that a successor has to know beside the descriptors, in memory that outlives the process. It is written in place,
// without a system call, at each change.
#pragma once

#include "daemon/keep/keeper.h"
#include "daemon/keep/records.h"
#include "daemon/keep/table.h"

namespace mrlease::keep {

// Not thread-safe.
class State {
 public:
  struct Head {
    std::uint64_t magic;        // 0: new
    std::uint64_t starts;       // daemons that have worked with it, this one included
    std::uint64_t failures;     // starts since one has served
    std::uint64_t hash_seed;    // of page hashes
    std::uint64_t next_session, next_lease, next_store, next_break, next_file;
  };
  static constexpr std::uint64_t kMagic = 0x3153'4553'4145'4c4d;  // another one: another layout

  // Throws std::runtime_error when a predecessor's cannot be understood.
  explicit State(void* memory);
  static std::size_t bytes();
  bool fresh() const { return fresh_; }
  Head& head() { return *head_; }

  Table<SessionRecord> sessions;
  Table<LeaseRecord> leases;
  Table<MrRecord> mrs;
  Table<StoreRecord> stores;
  Table<FreezeRecord> freezes;

 private:
  Head* head_;
  bool fresh_;
};

}  // namespace mrlease::keep
