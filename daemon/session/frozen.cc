// SPDX-License-Identifier: Apache-2.0
// Freezes that end before their hold has passed: when the pages that peers write meanwhile take too much memory, and by a restart.
#include <sys/stat.h>

#include <algorithm>

#include "daemon/session/broker.h"

namespace mrlease::session {

namespace {

constexpr std::chrono::milliseconds kLook(100);
constexpr std::size_t kReasonsMax = 1024;

std::uint64_t memory_of(const Store& store) {
  struct stat st {};
  return ::fstat(store.memfd.get(), &st) == 0 ? static_cast<std::uint64_t>(st.st_blocks) * 512 : 0;  // stat(3type)
}

}  // namespace

void Broker::thaw_early(core::BreakId id, std::string why) {
  log_(2, "freeze " + std::to_string(id) + " ends early: " + why);
  while (thawed_early_.size() >= kReasonsMax) thawed_early_.erase(thawed_early_.begin());
  thawed_early_[id] = std::move(why);
  step(core::event::Thaw{id, 0});
}

std::string Broker::why_over(core::BreakId freeze) const {
  const auto early = thawed_early_.find(freeze);
  return early == thawed_early_.end() ? "its hold has passed" : early->second;
}

// What each takes now. A page that two of them have frozen counts for both.
std::map<core::BreakId, std::uint64_t> Broker::frozen_memory() const {
  std::map<core::BreakId, std::uint64_t> bytes;
  for (const auto& [id, b] : api_breaks_)
    if (b.kind == core::BreakKind::Freeze && thawed_early_.count(id) == 0) bytes[id] = 0;
  if (bytes.empty()) return bytes;
  for (const auto& [number, lease] : leases_) {
    for (const Store& store : lease->stores) {
      if (store.trim) continue;
      const std::uint64_t memory = memory_of(store);
      for (auto& [id, sum] : bytes) {
        const ApiBreak& b = api_breaks_.at(id);
        if (b.file == lease->file && b.extent.overlaps(store.extent)) sum += memory;
      }
    }
  }
  return bytes;
}

void Broker::watch_frozen_memory() {
  if (watching_frozen_ || stopping_) return;
  watching_frozen_ = true;
  frozen_timer_.expires_after(kLook);
  frozen_timer_.async_wait([this](const asio::error_code& error) {
    if (error) return;
    watching_frozen_ = false;
    auto bytes = frozen_memory();
    if (bytes.empty()) return;
    std::map<uid_t, std::uint64_t> of_user;
    for (const auto& [id, sum] : bytes) of_user[api_breaks_.at(id).user] += sum;
    std::map<core::BreakId, std::uint64_t> too_much;  // all are found first: a thaw may be the end of other breaks
    for (auto& [user, total] : of_user) {
      while (total > options_.frozen_bytes_max) {
        const auto size = [&, of = user](const auto& each) { return api_breaks_.at(each.first).user == of ? each.second : 0; };
        const auto largest = std::max_element(bytes.begin(), bytes.end(), [&](const auto& a, const auto& b) { return size(a) < size(b); });
        total -= largest->second;
        too_much.insert(bytes.extract(largest));
      }
    }
    for (const auto& [id, has] : too_much)
      thaw_early(id, "what peers wrote under it takes " + std::to_string(has) + " bytes of memory, and the freezes of one user may take " +
                         std::to_string(options_.frozen_bytes_max) + " (--frozen-bytes-max)");
    watch_frozen_memory();
  });
}

void Broker::thaw_file(const core::FileKey& file) {
  std::vector<core::BreakId> freezes;
  for (const auto& [id, b] : api_breaks_)
    if (b.slot != keep::kNoSlot && b.file == file) freezes.push_back(id);
  for (const core::BreakId id : freezes) thaw_early(id, "an operation is held of which nobody knows the file, since a daemon was killed while it read");
}

}  // namespace mrlease::session
