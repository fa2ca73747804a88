// SPDX-License-Identifier: Apache-2.0
// A peer's bookkeeping: which regions it may post to, who is inside, what the owner waits for. No clock, no thread, no device.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>

#include "client-lib/src/peers/peer_protocol.h"

namespace mrlease::client::peers {

// Not thread-safe.
class Remote {
 public:
  static constexpr std::size_t kRegionsMax = 65536;  // what an owner can make a peer remember

  // What to answer, if anything. EPROTO: the owner is not to be listened to any more; end() with it.
  Outcome hear(std::span<const unsigned char> bytes, std::optional<Message>* answer);
  void end(const Outcome& why);  // the first one stays
  const Outcome& ended() const { return ended_; }

  // EAGAIN: held, or not offered; EKEYREVOKED: gone; or why the conversation ended.
  Outcome enter(std::uint64_t region, Place* place);
  Outcome leave(std::uint64_t region, std::optional<Message>* answer);

 private:
  struct Region {
    bool gone = false, held = true;  // until it is offered
    Place place;
    std::uint64_t inside = 0;
    std::uint64_t owed = 0;  // the recall to be answered when nobody is inside; 0: none
  };
  Outcome take_region(const Message& message);
  Outcome take_recall(const Message& message, std::optional<Message>* answer);
  Outcome take_gone(const Message& message);

  std::map<std::uint64_t, Region> regions_;
  Outcome ended_;
};

}  // namespace mrlease::client::peers
