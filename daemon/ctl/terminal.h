// SPDX-License-Identifier: Apache-2.0
// The terminal: its size, and the whole screen for a while.
#pragma once

#include <termios.h>

#include <cstddef>
#include <string>
#include <vector>

namespace mrlease::ctl {

struct Size {
  std::size_t rows = 24, columns = 80;
};
Size terminal_size(int fd);

// From the constructor to the destructor: the alternate screen, no cursor, keys as they are pressed. Not thread-safe.
class Screen {
 public:
  Screen();  // throws Failed when this is no terminal
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  void draw(const std::vector<std::string>& lines);

 private:
  termios before_{};
};

}  // namespace mrlease::ctl
