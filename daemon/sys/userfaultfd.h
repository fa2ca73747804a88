// SPDX-License-Identifier: Apache-2.0
// Does this kernel's userfaultfd(2) do what a transparent break needs?
#pragma once

#include <cstdint>

namespace mrlease::sys {

// By doing: opens one, shakes hands, closes it. 0 and what the kernel offers (UFFD_FEATURE_*), or errno.
int probe_userfaultfd(std::uint64_t* features);
// What the library's exchange of mappings asks for (client-lib/src/uffd/userfaultfd.cc).
std::uint64_t userfaultfd_features_needed();

}  // namespace mrlease::sys
