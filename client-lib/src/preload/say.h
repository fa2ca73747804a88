// SPDX-License-Identifier: Apache-2.0
// What the person who has preloaded the library is to know.
#pragma once

namespace mrlease::preload {

// A line on standard error, with whose it is. Thread-safe; what is longer than a line of 1,200 bytes is cut.
[[gnu::format(printf, 1, 2)]] void say(const char* format, ...);

}  // namespace mrlease::preload
