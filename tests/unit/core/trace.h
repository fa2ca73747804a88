// SPDX-License-Identifier: Apache-2.0
// One line for an event or an effect, to read a failing walk.
#pragma once

#include <string>

#include "daemon/core/events.h"

namespace mrlease::core {

std::string describe(const Event& event);
std::string describe(const Effect& effect);

}  // namespace mrlease::core
