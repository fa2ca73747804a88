// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/shrink.h"

#include <algorithm>

namespace mrlease::sim {

Moves shrink(Moves moves, const std::function<bool(const Moves&)>& fails) {
  for (std::size_t piece = (moves.size() + 1) / 2; piece > 0;) {
    bool shorter = false;
    for (std::size_t begin = 0; begin < moves.size();) {
      Moves without(moves.begin(), moves.begin() + static_cast<long>(begin));
      without.insert(without.end(), moves.begin() + static_cast<long>(std::min(begin + piece, moves.size())), moves.end());
      if (fails(without)) {
        moves = std::move(without);
        shorter = true;
      } else {
        begin += piece;
      }
    }
    if (piece == 1 && !shorter) break;
    piece = piece > 1 ? piece / 2 : 1;
  }
  return moves;
}

}  // namespace mrlease::sim
