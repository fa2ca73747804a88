// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace mrlease::sys {

// The name of an open file as this process sees it; empty where that cannot be told: unlinked, or in a mount namespace where the
// same name leads elsewhere. Never waits for a file system.
std::string name_of(int fd);

}  // namespace mrlease::sys
