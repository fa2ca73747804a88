// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mrlease::sys {

// Do two descriptors of this process refer to one open file description (as dup() and SCM_RIGHTS make them)?
bool same_open_file(int a, int b);

}  // namespace mrlease::sys
