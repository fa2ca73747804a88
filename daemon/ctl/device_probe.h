// SPDX-License-Identifier: Apache-2.0
// What this host's RDMA devices can do, by mrlease-probe: it tries where the daemon only looks.
#pragma once

#include "admin.pb.h"

namespace mrlease::ctl {

// Adds to the daemon's answer; where both know something, what was tried counts. A device that does not answer within 30 s, or no
// mrlease-probe: the daemon's stays, with the reason.
void probe_devices(admin::v1::ProbeResponse* answer);
// A line of mrlease-probe. False: it is none.
bool merge_device(const std::string& line, admin::v1::ProbeResponse* answer);

}  // namespace mrlease::ctl
