// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mrlease::sys {

struct WindowSize {
  unsigned rows = 0, columns = 0;  // 0: not known
};
WindowSize window_size(int terminal);

}  // namespace mrlease::sys
