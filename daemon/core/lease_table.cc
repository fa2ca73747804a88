// SPDX-License-Identifier: Apache-2.0
#include "daemon/core/lease_table.h"

#include <algorithm>
#include <memory>

namespace mrlease::core {
namespace {

// by is 1 or its negative; unsigned arithmetic makes both an addition.
void count(LeasedFile* file, const Lease& lease, std::uint32_t by) {
  if (lease.backing == Backing::Direct) file->direct += by;
  if (lease.backing != Backing::Bounce) return;
  file->bounce += by;
  if (lease.write) file->bounce_write += by;
}

void add(LeasedFile* file, LeaseEntry* entry) {
  if (file->leases() == 0) {
    file->lone = entry;
    return;
  }
  if (!file->index) {
    auto index = std::make_unique<IntervalIndex>();
    index->insert(file->lone->lease.extent, file->lone->lease.id, file->lone);
    file->index = std::move(index);
    file->lone = nullptr;
  }
  file->index->insert(entry->lease.extent, entry->lease.id, entry);
}

}  // namespace

// File systems number inodes as they like, so all bits of them have to reach the low ones (Fibonacci hashing).
std::size_t LeasedFile::hash(const FileKey& file) {
  const std::uint64_t x = (file.inode ^ (file.device << 32)) * 0x9e3779b97f4a7c15u;
  return x ^ (x >> 32);
}

void LeaseTable::insert(const Lease& lease) {
  LeaseEntry& entry = leases_.insert(std::make_unique<LeaseEntry>(lease));
  entry.file = files_.find(lease.file);
  if (entry.file == nullptr) entry.file = &files_.insert(std::make_unique<LeasedFile>(lease.file));
  add(entry.file, &entry);
  count(entry.file, lease, 1);
  LeasingSession* session = sessions_.find(lease.session);
  if (session == nullptr) session = &sessions_.insert(std::make_unique<LeasingSession>(lease.session));
  entry.before = std::exchange(session->latest, &entry);
  if (entry.before != nullptr) entry.before->after = &entry;
}

void LeaseTable::retire(LeaseEntry& entry) {
  LeasedFile* const file = std::exchange(entry.file, nullptr);
  if (file == nullptr) return;
  if (file->index) file->index->erase(entry.lease.extent, entry.lease.id);
  else file->lone = nullptr;
  count(file, entry.lease, static_cast<std::uint32_t>(-1));
  if (file->leases() == 0) files_.erase(*file);
}

void LeaseTable::erase(LeaseId id) {
  LeaseEntry* const entry = leases_.find(id);
  if (entry == nullptr) return;
  prefetch(entry->before, sizeof *entry);
  prefetch(entry->after, sizeof *entry);
  retire(*entry);
  if (entry->before != nullptr) entry->before->after = entry->after;
  if (entry->after != nullptr) {
    entry->after->before = entry->before;
  } else if (LeasingSession* const session = sessions_.find(entry->lease.session); entry->before != nullptr) {
    session->latest = entry->before;
  } else {
    sessions_.erase(*session);
  }
  leases_.erase(*entry);
}

Census LeaseTable::census(const FileKey& file) const {
  const LeasedFile* const leased = files_.find(file);
  if (leased == nullptr) return {};
  return {leased->leases(), leased->direct, leased->bounce, leased->bounce_write};
}

std::vector<LeaseId> LeaseTable::of_session(SessionId session) const {
  std::vector<LeaseId> ids;
  const LeasingSession* const leasing = sessions_.find(session);
  if (leasing == nullptr) return ids;
  for (const LeaseEntry* entry = leasing->latest; entry != nullptr; entry = entry->before) ids.push_back(entry->lease.id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace mrlease::core
