// SPDX-License-Identifier: Apache-2.0
// What an operation came to: 0, or an errno value with the sentence that mrl_last_error() will show.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

namespace mrlease::client {

struct [[nodiscard]] Outcome {
  int code = 0;
  std::string text;
  bool ok() const { return code == 0; }
};

// errno, at once, with what was being done.
inline Outcome from_errno(const std::string& doing, int code = errno) {
  return {code, doing + ": " + std::strerror(code)};
}

inline constexpr std::uint64_t kPage = 4096;  // mrl_open() refuses a kernel with pages of another size
constexpr std::uint64_t page_down(std::uint64_t bytes) { return bytes & ~(kPage - 1); }
constexpr std::uint64_t page_up(std::uint64_t bytes) { return page_down(bytes + kPage - 1); }

}  // namespace mrlease::client
