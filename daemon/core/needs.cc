// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "daemon/core/state.h"

namespace mrlease::core {

Needs Arbiter::needs(const FileKey& file) const {
  const Census census = state_->leases.census(file);
  Needs needs{census.all > 0, census.direct + census.bounce > 0, census.bounce > 0, census.bounce_write > 0};
  const auto it = state_->queues.find(file);
  if (it == state_->queues.end()) return needs;
  const bool freezing = std::any_of(it->second.breaks.begin(), it->second.breaks.end(),
                                    [](const Break* b) { return b->ask.kind == BreakKind::Freeze; });
  if (freezing) needs.truncate = needs.destructive = needs.write = true;
  return needs;
}

}  // namespace mrlease::core
