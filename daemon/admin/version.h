// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mrlease::admin {

inline constexpr const char* kVersion = MRLEASE_VERSION;  // CMake's PROJECT_VERSION

}  // namespace mrlease::admin
