// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/window_size.h"

#include <sys/ioctl.h>

namespace mrlease::sys {

WindowSize window_size(int terminal) {
  winsize size{};
  if (::ioctl(terminal, TIOCGWINSZ, &size) != 0) return {};
  return {size.ws_row, size.ws_col};
}

}  // namespace mrlease::sys
