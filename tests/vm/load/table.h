// SPDX-License-Identifier: Apache-2.0
// The table file, mapped. Throws std::system_error.
#pragma once

#include <cstdint>
#include <string>

#include "tests/vm/load/layout.h"

namespace mrlease::load {

class TableFile {
 public:
  static TableFile create(const std::string& path, std::uint64_t pages, bool unaligned);
  static TableFile open(const std::string& path);
  Table* operator->() const { return table_; }
  Table& get() const { return *table_; }

 private:
  explicit TableFile(Table* table) : table_(table) {}
  Table* table_;  // mapped until the process ends
};

}  // namespace mrlease::load
