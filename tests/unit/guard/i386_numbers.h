// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

namespace mrlease::guard {

// Numbers of the i386 system calls that touch a file's content, or may.
std::vector<long> i386_content_calls();
// Of those that open a file. (Opening raises FAN_OPEN_PERM, never FAN_PRE_ACCESS.)
std::vector<long> i386_open_calls();

}  // namespace mrlease::guard
