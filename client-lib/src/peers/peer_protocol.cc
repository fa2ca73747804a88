// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/peers/peer_protocol.h"

#include <limits>
#include <string>

namespace mrlease::client::peers {
namespace {

constexpr std::uint32_t kMagic = 0x504c524d;  // "MRLP"
enum At : std::size_t {
  kMagicAt = 0,
  kVersionAt = 4,
  kKindAt = 6,
  kRegionAt = 8,
  kRecallAt = 16,
  kAddressAt = 24,
  kLengthAt = 32,
  kSizeAt = 40,
  kRkeyAt = 48,
  kGenerationAt = 56
};

template <typename Number>
void put(Bytes& bytes, At at, Number value) {
  for (std::size_t i = 0; i < sizeof value; i++) bytes[at + i] = static_cast<unsigned char>(value >> (8 * i));
}

template <typename Number>
Number get(std::span<const unsigned char> bytes, At at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(Number); i++) value |= std::uint64_t{bytes[at + i]} << (8 * i);
  return static_cast<Number>(value);
}

Outcome check(const Place& place) {
  if (place.length == 0) return {EPROTO, "a region of 0 bytes"};
  if (place.address > std::numeric_limits<std::uint64_t>::max() - place.length) return {EPROTO, "a region that wraps around"};
  if (place.size > place.length) return {EPROTO, "a region with more bytes on the file than it has"};
  return {};
}

}  // namespace

Bytes encode(const Message& message) {
  Bytes bytes{};
  put(bytes, kMagicAt, kMagic);
  put(bytes, kVersionAt, kVersion);
  put(bytes, kKindAt, static_cast<std::uint16_t>(message.kind));
  put(bytes, kRegionAt, message.region);
  put(bytes, kRecallAt, message.recall);
  put(bytes, kAddressAt, message.place.address);
  put(bytes, kLengthAt, message.place.length);
  put(bytes, kSizeAt, message.place.size);
  put(bytes, kRkeyAt, message.place.rkey);
  put(bytes, kGenerationAt, message.place.generation);
  return bytes;
}

Outcome decode(std::span<const unsigned char> bytes, Message* out) {
  if (bytes.size() != kMessageBytes) {
    return {EPROTO, "a message of " + std::to_string(bytes.size()) + " bytes instead of " + std::to_string(kMessageBytes)};
  }
  if (get<std::uint32_t>(bytes, kMagicAt) != kMagic) return {EPROTO, "a message that is none of mrlease's"};
  const auto version = get<std::uint16_t>(bytes, kVersionAt);
  if (version != kVersion) {
    return {EPROTO, "a message of version " + std::to_string(version) + "; this library speaks " + std::to_string(kVersion)};
  }
  const auto kind = get<std::uint16_t>(bytes, kKindAt);
  if (kind < static_cast<std::uint16_t>(Kind::kRegion) || kind > static_cast<std::uint16_t>(Kind::kBye)) {
    return {EPROTO, "a message of kind " + std::to_string(kind) + ", which there is not"};
  }
  out->kind = static_cast<Kind>(kind);
  out->region = get<std::uint64_t>(bytes, kRegionAt);
  out->recall = get<std::uint64_t>(bytes, kRecallAt);
  out->place = {get<std::uint64_t>(bytes, kAddressAt), get<std::uint64_t>(bytes, kLengthAt),
                get<std::uint64_t>(bytes, kSizeAt), get<std::uint32_t>(bytes, kRkeyAt),
                get<std::uint64_t>(bytes, kGenerationAt)};
  return out->kind == Kind::kRegion ? check(out->place) : Outcome{};
}

}  // namespace mrlease::client::peers
