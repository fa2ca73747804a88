// SPDX-License-Identifier: Apache-2.0
// One packet between a client and the daemon: the bytes are those of the wire; a descriptor is the memory behind it.
#pragma once

#include <memory>
#include <string>

#include "proto/framing.h"
#include "tests/sim/memory.h"

namespace mrlease::sim {

struct Region;

struct Message {
  std::string bytes;
  std::shared_ptr<Pages> memory;
  const File* file = nullptr;  // the descriptor of a Register, SyncFile or FreezeFile
  std::shared_ptr<Region> reclaims;  // what a device reaches behind it: for the auditor, the daemon cannot know
};

inline Message pack(const wire::Frame& frame, std::shared_ptr<Pages> memory = {}, const File* file = nullptr) {
  return {wire::encode(frame), std::move(memory), file};
}

// false: the other side would drop the connection.
inline bool unpack(const Message& message, wire::Frame* frame) {
  std::string error;
  const std::size_t fds = (message.memory != nullptr ? 1 : 0) + (message.file != nullptr ? 1 : 0);
  return wire::decode(message.bytes, fds, frame, &error);
}

}  // namespace mrlease::sim
