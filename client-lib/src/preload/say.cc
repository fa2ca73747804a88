// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/preload/say.h"

#include <cstdarg>
#include <cstdio>

namespace mrlease::preload {

void say(const char* format, ...) {
  char line[1200];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "libmrlease-preload: %s\n", line);
}

}  // namespace mrlease::preload
