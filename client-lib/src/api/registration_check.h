// SPDX-License-Identifier: Apache-2.0
// Everything that can be wrong with mrl_reg_file()'s arguments, found before the daemon is asked.
#pragma once

#include <cstdint>

#include "client-lib/src/util/outcome.h"
#include "mrlease/mrlease.h"

namespace mrlease::client {

struct CheckedFile {
  std::uint64_t size = 0;
};
Outcome check_file(int fd, std::uint64_t offset, std::uint64_t length, bool write, CheckedFile* out);
// Copies what the caller's structure has; EINVAL for unknown flags, quirks, backings, or a structure without a size.
Outcome check_options(const mrl_reg_options* given, mrl_reg_options* out);

}  // namespace mrlease::client
