// SPDX-License-Identifier: Apache-2.0
// Threads of the application that store into the last pages of the mapping, with the CPU, and a table of what they
// stored. The sender leaves these pages alone (--spare).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/vm/load/options.h"
#include "tests/vm/load/table.h"

namespace mrlease::load {

class Stores {
 public:
  Stores(char* at, std::uint64_t length, const Options& options);  // starts storing when --store-pages is given
  ~Stores() { pause(); }
  Stores(const Stores&) = delete;
  Stores& operator=(const Stores&) = delete;
  void pause();  // returns when nothing is being stored
  void resume();

 private:
  static constexpr int kThreads = 2;
  void store(int thread);

  char* at_;
  std::uint64_t pages_ = 0, count_ = 0;
  std::unique_ptr<TableFile> table_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> sequence_{0};
  std::vector<std::thread> threads_;
};

}  // namespace mrlease::load
