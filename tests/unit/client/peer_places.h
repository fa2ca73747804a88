// SPDX-License-Identifier: Apache-2.0
// A region as both sides of a conversation know it: by its number, before and after a recall.
#pragma once

#include <cstdint>

#include "client-lib/src/peers/peer_protocol.h"

namespace mrlease::client::peers {

inline constexpr std::uint64_t kFile = 7;
inline const Place kPlace{4096, 65536, 65536, 100, 1}, kNewPlace{4096, 65536, 8192, 200, 2};

}  // namespace mrlease::client::peers
