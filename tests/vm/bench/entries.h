// SPDX-License-Identifier: Apache-2.0
// Counts how often anybody, in any thread, runs into the library's code: while it is closed its pages cannot be executed, and
// who tries is counted and let in. No entry can be missed, whatever way it takes, and none costs anything until it happens.
#pragma once

namespace mrlease::bench {

// `symbol`: an address in the shared library's code. One library a program.
void watch_library_of(void* symbol);
void close_library();
// How often it was entered since it was closed; after the first entry it stands open, so 2 or more is also told as 1.
int open_library();

}  // namespace mrlease::bench
