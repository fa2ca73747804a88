// SPDX-License-Identifier: Apache-2.0
// Something that holds a foreign operation up; each has a file of its own.
#pragma once

#include <string>

namespace mrlease::bench {

class Contestant {
 public:
  virtual ~Contestant() = default;
  virtual std::string name() const = 0;
  virtual std::string path() const = 0;
  // Before each operation: the file is whole again and held.
  virtual void arm() = 0;
};

}  // namespace mrlease::bench
