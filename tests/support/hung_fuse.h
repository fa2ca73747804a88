// SPDX-License-Identifier: Apache-2.0
// A file system that stops answering: a FUSE server of one file. Needs root and /dev/fuse.
#pragma once

#include <string>
#include <thread>

#include "proto/fd_passing.h"

namespace mrlease::test {

class HungFuse {
 public:
  // Mounts over the directory, which it makes. Throws std::system_error.
  explicit HungFuse(std::string directory);
  ~HungFuse();  // whoever waits for it gets ENOTCONN
  // Of its file, for reading and writing. Closing it waits for an answer as well.
  wire::Fd open_file() const;
  // From now on nothing is answered.
  void hang();

 private:
  void serve();
  bool answer(const char* request, std::string* body, int* error) const;

  const std::string directory_;
  wire::Fd device_, stop_;
  std::thread thread_;
};

}  // namespace mrlease::test
