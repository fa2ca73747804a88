// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/api/last_error.h"

#include <cstdio>

namespace mrlease::client {
namespace {
thread_local char text_of_thread[1024] = "";  // no allocation: it must work when memory is short
}

int remember(const Outcome& outcome) noexcept {
  if (outcome.ok()) {
    text_of_thread[0] = 0;
    return 0;
  }
  std::snprintf(text_of_thread, sizeof text_of_thread, "%s", outcome.text.c_str());
  return outcome.code;
}

const char* last_error() noexcept { return text_of_thread; }

}  // namespace mrlease::client
