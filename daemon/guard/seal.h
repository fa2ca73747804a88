// SPDX-License-Identifier: Apache-2.0
// The seal guard: a memfd whose owner has agreed that it will not shrink. Nothing is left to hold.
#pragma once

#include <optional>
#include <string>

namespace mrlease::guard {

// The coverage in words, if the seals of this file keep its pages.
std::optional<std::string> sealed_memory(int fd);

}  // namespace mrlease::guard
