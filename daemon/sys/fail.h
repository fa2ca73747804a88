// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <system_error>

namespace mrlease::sys {

// std::system_error: the sentence `what`, and an errno.
[[noreturn]] inline void fail(int code, const std::string& what) { throw std::system_error(code, std::generic_category(), what); }

}  // namespace mrlease::sys
