// SPDX-License-Identifier: Apache-2.0
// Which processes hold leases, in a file for the next daemon: it waits for them to come back before it grants to others.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

namespace mrlease::session {

class Holders {
 public:
  // Takes the file over, or makes it. One that cannot be written notes nothing: nobody is waited for then.
  explicit Holders(std::string path);
  // Of a predecessor, those that still live.
  std::multiset<pid_t> left() const { return left_; }
  // Once for each session that holds leases: each has to come back.
  void note(std::vector<pid_t> processes);

 private:
  const std::string path_;
  std::multiset<pid_t> left_;
  std::vector<pid_t> noted_;  // rising
};

}  // namespace mrlease::session
