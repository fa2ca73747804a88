// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/load/orphans.h"

namespace mrlease::load {

Checker& Orphans::checker() {
  if (!checker_) {
    table_.emplace(TableFile::open(path_));
    checker_.emplace(table_->get(), nullptr, 0);
  }
  return *checker_;
}

Verdict Orphans::check(const char* memory, std::uint64_t size) {
  return checker().verify_from((size + kPage - 1) / kPage, memory);
}

void Orphans::discarded(std::uint64_t size, std::uint64_t begin_ns, std::uint64_t end_ns) {
  checker().cut(size, begin_ns);
  checker().extended(end_ns);
}

void Orphans::reattached(std::uint64_t size, std::uint64_t begin_ns, std::uint64_t end_ns) {
  checker().cut(size, begin_ns);
  checker().reattached(size, end_ns);
}

}  // namespace mrlease::load
