// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/load/stores.h"

namespace mrlease::load {

Stores::Stores(char* at, std::uint64_t length, const Options& options)
    : at_(at), pages_(length / kPage), count_(options.number("store-pages")) {
  if (!count_) return;
  table_ = std::make_unique<TableFile>(TableFile::create(options.text("store-table"), pages_, false));
  resume();
}

void Stores::pause() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Stores::resume() {
  if (!count_ || !threads_.empty()) return;
  stop_ = false;
  for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this, i] { store(i); });
}

// Each thread has pages of its own. A store is acknowledged when the processor has done it.
void Stores::store(int thread) {
  Table& table = table_->get();
  while (!stop_) {
    for (std::uint64_t page = pages_ - count_ + static_cast<std::uint64_t>(thread); page < pages_ && !stop_;
         page += kThreads) {
      const std::uint64_t stamp = make_stamp(++sequence_, page), start = now_ns();
      fill(at_ + page * kPage, kPage, stamp);
      table.acked[page] = {stamp, start, now_ns()};
      ++table.ops;
    }
    std::this_thread::yield();
  }
}

}  // namespace mrlease::load
