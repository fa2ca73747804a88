// SPDX-License-Identifier: Apache-2.0
// The way to one peer, as the owner's bookkeeping needs it.
#pragma once

#include "client-lib/src/peers/peer_protocol.h"

namespace mrlease::client::peers {

class Channel {
 public:
  virtual ~Channel() = default;
  virtual Outcome send(const Message& message) = 0;  // does not wait
  virtual void cut() = 0;                            // afterwards the peer reaches nothing through its queue pairs
};

}  // namespace mrlease::client::peers
