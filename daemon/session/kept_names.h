// SPDX-License-Identifier: Apache-2.0
// The names under which the service manager keeps descriptors: a letter for the kind (daemon/DESIGN.md lists them), and a
// number.
#pragma once

#include <cstdint>
#include <string>

namespace mrlease::session {

inline std::string named(char kind, std::uint64_t id) { return kind + std::to_string(id); }

}  // namespace mrlease::session
