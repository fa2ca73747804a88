// SPDX-License-Identifier: Apache-2.0
// A file of 1 MiB in a directory of its own, on a real file system: under MRLEASE_TEST_DIR, else /var/tmp.
#pragma once

#include <string>

#include "daemon/core/types.h"
#include "daemon/sys/fd.h"

namespace mrlease::guard::test {

inline constexpr std::uint64_t kFileSize = 1 << 20;

class Scratch {
 public:
  Scratch();
  ~Scratch();

  const std::string& dir() const { return dir_; }
  const char* path() const { return path_.c_str(); }
  core::FileKey key() const;
  std::uint64_t size() const;
  std::uint64_t blocks() const;
  // Opens it, read and write, in this process.
  sys::Fd open(int flags = 0) const;

 private:
  std::string dir_, path_;
};

}  // namespace mrlease::guard::test
