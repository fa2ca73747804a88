// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/terminal.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "daemon/ctl/client.h"
#include "daemon/sys/window_size.h"

namespace mrlease::ctl {
namespace {

// ECMA-48 and xterm's private modes, which every terminal of today has: nothing of terminfo would differ.
constexpr const char* kEnter = "\x1b[?1049h\x1b[?25l";
constexpr const char* kLeave = "\x1b[?25h\x1b[?1049l";
constexpr const char* kHome = "\x1b[H";
constexpr const char* kEndOfLine = "\x1b[K";
constexpr const char* kEndOfScreen = "\x1b[J";

void put(const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data() + at, text.size() - at);
    if (n <= 0) return;  // the terminal is gone
    at += static_cast<std::size_t>(n);
  }
}

}  // namespace

Size terminal_size(int fd) {
  Size size;
  const sys::WindowSize window = sys::window_size(fd);
  if (window.rows > 0 && window.columns > 0) size = {window.rows, window.columns};
  return size;
}

Screen::Screen() {
  const char* term = std::getenv("TERM");
  if (!::isatty(STDIN_FILENO) || !::isatty(STDOUT_FILENO) || ::tcgetattr(STDIN_FILENO, &before_) != 0)
    throw Failed{kUsage, "top wants a terminal; --once and --batch do without"};
  if (!term || std::strcmp(term, "dumb") == 0) throw Failed{kUsage, "this terminal is too simple for top (TERM); --batch does without"};
  termios raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);  // ISIG stays: ^C is SIGINT
  raw.c_cc[VSUSP] = _POSIX_VDISABLE;                     // ^Z would leave the alternate screen behind
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  put(kEnter);
}

Screen::~Screen() {
  put(kLeave);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

void Screen::draw(const std::vector<std::string>& lines) {
  std::string text = kHome;
  for (std::size_t i = 0; i < lines.size(); ++i) text += (i ? "\r\n" : "") + lines[i] + kEndOfLine;
  put(text + kEndOfScreen);
}

}  // namespace mrlease::ctl
