// SPDX-License-Identifier: Apache-2.0
// A reliable connection of this process with itself, over the RDMA device that has an address.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "tests/vm/load/link.h"

namespace mrlease::bench {

struct Target {
  std::uint64_t at;
  std::uint32_t rkey;
};

class Wire {
 public:
  static constexpr std::size_t kLargest = 1 << 20;
  explicit Wire(const std::string& address);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
  ibv_pd* target_pd() const { return owner_.pd(); }  // of the side that is written to
  // `count` RDMA writes of the first `bytes` of the source, `window` of them in flight, until the last one's completion.
  void write(Target target, std::size_t bytes, int count, int window);
  void fill(unsigned char value);  // the source

 private:
  void post(Target target, std::size_t bytes);
  load::Link owner_, peer_;
  unsigned char* source_ = nullptr;
  ibv_mr* source_mr_ = nullptr;
};

}  // namespace mrlease::bench
