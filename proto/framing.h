// SPDX-License-Identifier: Apache-2.0
// Frames of the wire and their limits, shared by daemon and library. Pure functions on buffers: no socket here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lease.pb.h"

namespace mrlease::wire {

inline constexpr std::uint32_t kVersionMin = 1;
inline constexpr std::uint32_t kVersionMax = 5;
inline constexpr std::size_t kFrameMax = 64 * 1024;  // bytes of one packet
inline constexpr std::size_t kFdsMax = 4;            // descriptors beside one packet
inline constexpr std::size_t kRangesMax = 2048;      // ranges in one Merge

using v1::Frame;

// How many descriptors must come beside this frame; {min, max}.
struct FdCount { std::size_t min, max; };
FdCount fds_expected(const Frame& frame);

// Serialize; empty when the frame is larger than kFrameMax.
std::string encode(const Frame& frame);

// Parse and check a packet: size, syntax, a body, the number of descriptors. On failure `error` says what was wrong.
bool decode(std::string_view packet, std::size_t fds, Frame* frame, std::string* error);

// The version both speak, or 0.
std::uint32_t negotiate(std::uint32_t theirs_min, std::uint32_t theirs_max);

}  // namespace mrlease::wire
