// SPDX-License-Identifier: Apache-2.0
// Makes a failing schedule short: what can be left out while it still fails, is.
#pragma once

#include <functional>
#include <vector>

namespace mrlease::sim {

using Moves = std::vector<unsigned>;

// REQUIRES: fails(moves). Delta debugging: halves, then smaller pieces, until no single move can go.
Moves shrink(Moves moves, const std::function<bool(const Moves&)>& fails);

}  // namespace mrlease::sim
