// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace mrlease::bench {

// The main of a benchmark whose only option is --json FILE, handed to run ("": none), whose result is the exit status. failed: what
// status 1 means, for who asks for help.
int json_main(int argc, char** argv, const char* failed, int (*run)(const std::string& json));

}  // namespace mrlease::bench
