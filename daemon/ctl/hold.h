// SPDX-License-Identifier: Apache-2.0
// freeze FILE, and freeze FILE -- COMMAND: a freeze that lives as long as this process.
#pragma once

#include "daemon/ctl/program.h"

namespace mrlease::ctl {

// The exit status: of the command, when there is one.
int hold_freeze(Program& p, const v1::FreezeRequest& request);

}  // namespace mrlease::ctl
