// SPDX-License-Identifier: Apache-2.0
// What devices can do, probed once for each: a probe takes milliseconds, and a registration asks.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "client-lib/src/probe/probe.h"

namespace mrlease::client {

// Thread-safe; who asks for a device that is being probed waits for the result.
class CapsCache {
 public:
  // device: a name that no other device has while this lives. A probe that could not be made (DeviceCaps::tried) is made again
  // by who asks next: a port that is down comes up.
  DeviceCaps get(const std::string& device, const std::function<DeviceCaps()>& probe) {
    std::lock_guard lock(mutex_);
    const auto known = known_.find(device);
    if (known != known_.end()) return known->second;
    DeviceCaps caps = probe();
    if (caps.tried) known_.emplace(device, caps);
    return caps;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, DeviceCaps> known_;  // under mutex_
};

}  // namespace mrlease::client
