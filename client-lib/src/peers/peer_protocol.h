// SPDX-License-Identifier: Apache-2.0
// What owner and peer say to each other: one fixed little-endian layout of 64 bytes. Pure.
//
//   bytes  0  magic "MRLP"      16  recall      40  size
//          4  version (16 bit)  24  address     48  rkey (32 bit)
//          6  kind (16 bit)     32  length      52  zeros
//          8  region            56  generation
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "client-lib/src/util/outcome.h"

namespace mrlease::client::peers {

inline constexpr std::size_t kMessageBytes = 64;
inline constexpr std::uint16_t kVersion = 1;
using Bytes = std::array<unsigned char, kMessageBytes>;

enum class Kind : std::uint16_t {
  kRegion = 1,  // owner: post to it, with these keys, until the next kRecall or kGone
  kRecall = 2,  // owner: hold, and say kHeld when nothing is in flight
  kHeld = 3,    // peer: the answer, once for each kRecall, with its number
  kGone = 4,    // owner: there is no such region any more; not answered
  kBye = 5      // peer: posts no more, and hears no more
};

// Where a region is, and by which key.
struct Place {
  std::uint64_t address = 0, length = 0;
  std::uint64_t size = 0;  // bytes, from address, that are on the file
  std::uint32_t rkey = 0;
  std::uint64_t generation = 0;
};

struct Message {
  Kind kind = Kind::kBye;
  std::uint64_t region = 0;  // the application's number
  std::uint64_t recall = 0;  // kRecall, kHeld
  Place place;               // kRegion
};

Bytes encode(const Message& message);
// EPROTO, with what is wrong: the other end may send anything.
Outcome decode(std::span<const unsigned char> bytes, Message* out);

}  // namespace mrlease::client::peers
