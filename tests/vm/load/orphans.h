// SPDX-License-Identifier: Apache-2.0
// What a truncate cut off and MRL_REG_PRESERVE_ORPHANS keeps: the receiver's own memory beyond the end of the file must
// hold every write that was acknowledged, also those that came after the cut.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tests/vm/load/checker.h"
#include "tests/vm/load/table.h"

namespace mrlease::load {

// One thread uses it, while the sender is quiet.
class Orphans {
 public:
  // The sender's table; it is opened when it is first needed, since the sender makes it. Throws std::system_error.
  explicit Orphans(std::string table) : path_(std::move(table)) {}
  // The pages of `memory` that lie wholly beyond `size` bytes.
  Verdict check(const char* memory, std::uint64_t size);
  // The tail from `size` on, as long as the file was shorter, is discarded by an extend from begin_ns to end_ns.
  void discarded(std::uint64_t size, std::uint64_t begin_ns, std::uint64_t end_ns);
  // It was put back; of the page of an odd end the file had no more than that.
  void reattached(std::uint64_t size, std::uint64_t begin_ns, std::uint64_t end_ns);

 private:
  Checker& checker();

  const std::string path_;
  std::optional<TableFile> table_;
  std::optional<Checker> checker_;
};

}  // namespace mrlease::load
