// SPDX-License-Identifier: Apache-2.0
// The real mrleased, with an unprivileged client that speaks the wire itself and complies with every recall at once.
#pragma once

#include <memory>
#include <string>

#include "contestant.h"

namespace mrlease::bench {

// daemon: the path of mrleased.
std::unique_ptr<Contestant> make_daemon(const std::string& daemon, const std::string& dir);

}  // namespace mrlease::bench
