// SPDX-License-Identifier: Apache-2.0
// Files that no lease for writing has any more, and of whose last one not all is on the disk yet. Once more they are synced, and not more
// often than their writeback-interval-ms wants: leases may come and go more often than that.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "daemon/core/types.h"
#include "daemon/fence/fence.h"
#include "daemon/session/account.h"

namespace mrlease::session {

// Used by the loop's thread.
class LastSyncs {
 public:
  struct File {
    fence::SharedFd fd;
    Charge charge;  // of whose it is, as long as it is open for this
  };
  // Syncs it in another thread, which also drops it, and calls done in the loop's.
  using Sync = std::function<void(const core::FileKey& key, File file, std::function<void()> done)>;

  LastSyncs(asio::io_context& loop, Sync sync) : loop_(loop), sync_(std::move(sync)) {}

  // Now, or as soon as the last one of this file is done and began that long ago. 0: without regard to that.
  void ask(const core::FileKey& key, File file, std::chrono::milliseconds interval);
  // What waits for its time is synced now. Nothing waits from now on.
  void hurry();

 private:
  struct Entry {
    explicit Entry(asio::io_context& loop) : timer(loop) {}
    std::optional<File> next;  // asked for
    bool running = false;
    std::chrono::steady_clock::time_point began = std::chrono::steady_clock::time_point::min();
    std::chrono::milliseconds interval{};
    asio::steady_timer timer;
  };

  void go_on(const core::FileKey& key);

  asio::io_context& loop_;
  const Sync sync_;
  bool hurries_ = false;
  std::map<core::FileKey, Entry> files_;
};

}  // namespace mrlease::session
