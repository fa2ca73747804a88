// SPDX-License-Identifier: Apache-2.0
// Whether every process of this host can be seen.
#pragma once

namespace mrlease::sys {

// This process is in the host's own pid namespace, not in a container's. True as well when it cannot be told.
bool in_first_pid_namespace();

}  // namespace mrlease::sys
