// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/takeover.h"

#include <algorithm>
#include <cerrno>

#include "daemon/core/extents.h"

namespace mrlease::session {

// What it had got out of the way comes back; what happened to the file meanwhile is taken over. The file's size tells.
std::vector<core::event::AdoptBreak> second_halves(const core::FileKey& file, std::uint64_t size,
                                                   const std::vector<LeftLease>& leases) {
  core::event::AdoptBreak cut{0, file, core::BreakKind::Truncate, {size, core::kToEnd}, size, 0, 0, {}};
  core::event::AdoptBreak written{0, file, core::BreakKind::Write, {}, size, 0, 0, {}};
  core::event::AdoptBreak thaw{0, file, core::BreakKind::Freeze, {}, size, 0, 0, {}};
  for (const LeftLease& lease : leases) {
    if (lease.quiesced || lease.bounce) cut.parts.push_back({lease.id, lease.extent});
    if (lease.bounce && lease.write) written.parts.push_back({lease.id, lease.extent});
    for (const LeftLease::Store& store : lease.stores) {
      if (store.trim) cut.parts.push_back({lease.id, store.extent});
      else if (!store.frozen) thaw.parts.push_back({lease.id, store.extent});
    }
  }
  std::vector<core::event::AdoptBreak> out;
  for (core::event::AdoptBreak* b : {&cut, &written, &thaw})
    if (!b->parts.empty()) out.push_back(std::move(*b));
  return out;
}

std::vector<core::event::AdoptBreak::Part> frozen_parts(const core::Extent& frozen, const std::vector<LeftLease>& leases) {
  std::vector<core::event::AdoptBreak::Part> parts;
  for (const LeftLease& lease : leases) {
    if (!frozen.overlaps(lease.extent)) continue;  // it may share the lease's last page
    // Another freeze may hold the same lease, where this one reaches only beyond the end of the file: each thaws its own.
    const core::Lease known{.extent = lease.extent, .on_file_end = lease.on_file_end};
    if (lease.bounce && !core::pages_on_file(known, frozen).empty()) parts.push_back({lease.id, lease.extent});
    for (const LeftLease::Store& store : lease.stores)
      if (!store.trim && frozen.overlaps(store.extent)) parts.push_back({lease.id, store.extent});
  }
  return parts;
}

bool Inherited::changes(const core::FileKey& file) const {
  return std::any_of(inside_.begin(), inside_.end(), [&](const auto& each) { return each.second == file; });
}

void Inherited::answered(core::BreakId id, int code) {
  const auto revoked = revokes_.extract(id);
  if (revoked && code != 0) not_revoked_.insert(revoked.mapped());
}

std::optional<core::FileKey> Inherited::over(core::BreakId id) {
  const auto left = inside_.extract(id);
  if (!left || changes(left.mapped()) || not_revoked_.erase(left.mapped()) == 0) return {};
  return left.mapped();
}

std::uint64_t told_extended(std::uint64_t told, const core::Extent& lease, std::uint64_t file_size) {
  return std::max(told, std::min(lease.end, file_size));
}

bool ends_mrs(core::Action asked) { return asked == core::Action::Quiesce || asked == core::Action::Release; }

int credited(core::Action asked, int code, bool has_mrs) { return code == 0 && ends_mrs(asked) && has_mrs ? EBUSY : code; }

}  // namespace mrlease::session
