// SPDX-License-Identifier: Apache-2.0
// A process at which nobody can look who has not looked at it lately: its directory in /proc is being read into memory that never
// comes, and somebody waits to change it, behind whom whoever wants to look up a name there waits as well. It goes on meanwhile.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "tests/support/foreign.h"
#include "tests/support/hung_fuse.h"

namespace mrlease::test {

class HiddenProcess {
 public:
  // directory: for the file system that the memory does not come from. Needs root. Throws std::runtime_error.
  HiddenProcess(std::string directory, pid_t process);
  // From now on it can be looked at.
  ~HiddenProcess();

 private:
  std::optional<HungFuse> fuse_;
  std::optional<Foreign> reader_, changer_;
};

}  // namespace mrlease::test
