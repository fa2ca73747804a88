// SPDX-License-Identifier: Apache-2.0
#include "daemon/core/lease_table.h"

namespace mrlease::core {

LeaseEntry* LeaseTable::find(LeaseId id) {
  const auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : &it->second;
}

const LeaseEntry* LeaseTable::find(LeaseId id) const {
  const auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : &it->second;
}

// by is 1 or its negative; unsigned arithmetic makes both an addition.
void LeaseTable::count(Census* census, const Lease& lease, std::size_t by) {
  census->all += by;
  if (lease.backing == Backing::Direct) census->direct += by;
  if (lease.backing != Backing::Bounce) return;
  census->bounce += by;
  if (lease.write) census->bounce_write += by;
}

void LeaseTable::insert(const Lease& lease) {
  entries_[lease.id].lease = lease;
  File& file = files_[lease.file];
  file.index.insert(lease.extent, lease.id);
  count(&file.census, lease, 1);
  sessions_.insert({lease.session, lease.id});
}

void LeaseTable::retire(const LeaseEntry& entry) {
  const auto it = files_.find(entry.lease.file);
  if (it == files_.end() || !it->second.index.erase(entry.lease.extent, entry.lease.id)) return;
  count(&it->second.census, entry.lease, static_cast<std::size_t>(-1));
  if (it->second.index.empty()) files_.erase(it);
}

void LeaseTable::erase(LeaseId id) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  retire(it->second);
  sessions_.erase({it->second.lease.session, id});
  entries_.erase(it);
}

Census LeaseTable::census(const FileKey& file) const {
  const auto it = files_.find(file);
  return it == files_.end() ? Census{} : it->second.census;
}

std::vector<LeaseId> LeaseTable::of_session(SessionId session) const {
  std::vector<LeaseId> ids;
  for (auto it = sessions_.lower_bound({session, 0}); it != sessions_.end() && it->first == session; ++it) {
    ids.push_back(it->second);
  }
  return ids;
}

}  // namespace mrlease::core
