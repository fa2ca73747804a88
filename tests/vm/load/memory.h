// SPDX-License-Identifier: Apache-2.0
// What the receiver lets the peer write into: a lease, or, to show the problem, a plain registration.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "tests/vm/load/options.h"
#include "tests/vm/load/peer.h"

namespace mrlease::load {

class Json;

inline constexpr int kAccess =
    IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;  // what a peer may do with it

class Memory {
 public:
  virtual ~Memory() = default;
  virtual Keys keys() const = 0;
  virtual char* at() const = 0;
  virtual void talk_to(Peer* peer) = 0;      // from now on recalls are answered by pausing it
  virtual int sync(std::string* error) = 0;  // 0 or errno
  virtual int extend(std::string* error) = 0;
  virtual int reattach(std::string* error) = 0;
  virtual bool pause_for_extend() const = 0;  // the backing cannot take the tail back under a running peer
  virtual void describe(Json& json) const = 0;
  virtual std::string events() const = 0;  // counted by name, "fenced 1, recall 3"
};

// Plain ibv_reg_mr of the file's mapping ("plain") or of anonymous memory ("none"). Throws std::system_error.
std::unique_ptr<Memory> plain_memory(const Options& options, ibv_pd* pd);
// Through libmrlease. Throws std::system_error.
std::unique_ptr<Memory> leased_memory(const Options& options, ibv_pd* pd);

}  // namespace mrlease::load
