// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/peers/remote.h"

#include <string>

namespace mrlease::client::peers {
namespace {

std::string named(std::uint64_t region) { return "region " + std::to_string(region); }

}  // namespace

Outcome Remote::hear(std::span<const unsigned char> bytes, std::optional<Message>* answer) {
  Message message;
  Outcome read = decode(bytes, &message);
  if (!read.ok()) return {EPROTO, "the owner sent " + read.text};
  switch (message.kind) {
    case Kind::kRegion:
      return take_region(message);
    case Kind::kRecall:
      return take_recall(message, answer);
    case Kind::kGone:
      return take_gone(message);
    default:
      return {EPROTO, "the owner sent what a peer says"};
  }
}

void Remote::end(const Outcome& why) {
  if (ended_.ok()) ended_ = why;
}

Outcome Remote::take_region(const Message& message) {
  if (regions_.size() >= kRegionsMax && !regions_.contains(message.region)) {
    return {EPROTO, "the owner offers more than " + std::to_string(kRegionsMax) + " regions"};
  }
  Region& region = regions_[message.region];
  region.place = message.place;
  region.gone = region.held = false;
  region.owed = 0;
  return {};
}

Outcome Remote::take_recall(const Message& message, std::optional<Message>* answer) {
  const auto found = regions_.find(message.region);
  if (found == regions_.end() || message.recall == 0) {
    return {EPROTO, "the owner recalled " + named(message.region) + ", which it has not offered"};
  }
  Region& region = found->second;
  region.held = true;
  if (region.inside > 0) {
    region.owed = message.recall;
  } else {
    *answer = {Kind::kHeld, message.region, message.recall, {}};
  }
  return {};
}

Outcome Remote::take_gone(const Message& message) {
  const auto found = regions_.find(message.region);
  // One that was never told, since it was held when this peer came.
  if (found == regions_.end()) return {};
  found->second.gone = true;
  return {};
}

Outcome Remote::enter(std::uint64_t number, Place* place) {
  if (!ended_.ok()) return ended_;
  const auto found = regions_.find(number);
  if (found == regions_.end()) return {EAGAIN, named(number) + " is not offered by the owner"};
  Region& region = found->second;
  if (region.gone) return {EKEYREVOKED, "the owner has given up " + named(number)};
  if (region.held) return {EAGAIN, "the owner holds " + named(number)};
  region.inside++;
  *place = region.place;
  return {};
}

Outcome Remote::leave(std::uint64_t number, std::optional<Message>* answer) {
  const auto found = regions_.find(number);
  if (found == regions_.end() || found->second.inside == 0) {
    return {EINVAL, "nobody is between mrl_peer_enter() and mrl_peer_leave() of " + named(number)};
  }
  Region& region = found->second;
  if (--region.inside == 0 && region.owed != 0) {
    *answer = {Kind::kHeld, number, region.owed, {}};
    region.owed = 0;
  }
  return {};
}

}  // namespace mrlease::client::peers
