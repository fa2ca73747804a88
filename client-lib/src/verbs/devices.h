// SPDX-License-Identifier: Apache-2.0
// The devices that this process sees, and one of them, opened.
#pragma once

#include <string>
#include <vector>

#include "client-lib/src/util/outcome.h"

struct ibv_context;

namespace mrlease::client::verbs {

// Names as ibv_devices(1) prints them, of this process' network namespace.
std::vector<std::string> device_names();

// Closes what it holds at its end.
class OpenDevice {
 public:
  OpenDevice() = default;
  ~OpenDevice();
  OpenDevice(const OpenDevice&) = delete;
  OpenDevice& operator=(const OpenDevice&) = delete;
  // ENODEV: there is none of that name; or the errno of opening it.
  Outcome open(const std::string& name);
  ibv_context* context() const { return context_; }

 private:
  ibv_context* context_ = nullptr;
};

}  // namespace mrlease::client::verbs
