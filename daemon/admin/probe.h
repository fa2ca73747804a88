// SPDX-License-Identifier: Apache-2.0
// What this host can do, found by trying where that is harmless.
#pragma once

#include <string>
#include <vector>

#include "admin.pb.h"

namespace mrlease::admin {

// Blocking: paths may hang.
void probe_host(const std::string& guard_text, v1::ProbeResponse* to);
void probe_filesystem(const std::string& path, bool root, v1::ProbeResponse* to);
void probe_devices(const std::string& sysfs, v1::ProbeResponse* to);  // "/sys"

}  // namespace mrlease::admin
