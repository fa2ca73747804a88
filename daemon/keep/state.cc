// SPDX-License-Identifier: Apache-2.0
#include "daemon/keep/state.h"

namespace mrlease::keep {

namespace {

constexpr std::size_t kHeadBytes = 4096;
constexpr std::size_t kSessions = kHeadBytes;
constexpr std::size_t kLeases = kSessions + Table<SessionRecord>::kBytes;
constexpr std::size_t kMrs = kLeases + Table<LeaseRecord>::kBytes;
constexpr std::size_t kStores = kMrs + Table<MrRecord>::kBytes;
constexpr std::size_t kFreezes = kStores + Table<StoreRecord>::kBytes;
constexpr std::size_t kEnd = kFreezes + Table<FreezeRecord>::kBytes;

void* part(void* memory, std::size_t offset) { return static_cast<char*>(memory) + offset; }

}  // namespace

std::size_t State::bytes() { return (kEnd + 4095) / 4096 * 4096; }

State::State(void* memory)
    : sessions(part(memory, kSessions)),
      leases(part(memory, kLeases)),
      mrs(part(memory, kMrs)),
      stores(part(memory, kStores)),
      freezes(part(memory, kFreezes)),
      head_(static_cast<Head*>(memory)),
      fresh_(head_->magic == 0) {
  if (!fresh_ && head_->magic != kMagic) throw std::runtime_error("the kept state is of another layout");
  if (fresh_) {
    head_->next_session = head_->next_lease = head_->next_store = head_->next_break = head_->next_file = 1;
    head_->magic = kMagic;
  }
  head_->starts++;
  head_->failures++;
}

}  // namespace mrlease::keep
