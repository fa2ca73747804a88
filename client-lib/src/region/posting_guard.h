// SPDX-License-Identifier: Apache-2.0
// Local operations between enter() and leave() hold up a recall: one atomic word per region.
#pragma once

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>

namespace mrlease::client {

// Thread-safe. The word: how many are inside, and two bits above all counts.
class PostingGuard {
 public:
  // 0, EAGAIN while closed, EKEYREVOKED once revoked.
  int enter() {
    const std::uint64_t before = word_.fetch_add(1, std::memory_order_acquire);
    if ((before & (kClosed | kRevoked)) == 0) [[likely]]
      return 0;
    leave();
    return (before & kRevoked) != 0 ? EKEYREVOKED : EAGAIN;
  }
  void leave() {
    const std::uint64_t before = word_.fetch_sub(1, std::memory_order_release);
    if ((before & (kClosed | kRevoked)) != 0 && (before & kCount) == 1) [[unlikely]]
      wake();
  }
  void close() { word_.fetch_or(kClosed); }
  void open() { word_.fetch_and(~kClosed); }
  void revoke() {
    word_.fetch_or(kRevoked);
    wake();
  }
  // After close(): until nobody is inside, or `give_up` says so (looked at when woken), or the deadline: false.
  bool wait_drained(std::chrono::steady_clock::time_point deadline, const std::function<bool()>& give_up) {
    std::unique_lock lock(mutex_);
    return drained_.wait_until(lock, deadline,
                               [&] { return (word_.load(std::memory_order_acquire) & kCount) == 0 || give_up(); });
  }
  void wake() {
    std::lock_guard lock(mutex_);
    drained_.notify_all();
  }

 private:
  static constexpr std::uint64_t kClosed = 1ull << 63, kRevoked = 1ull << 62, kCount = kRevoked - 1;
  std::atomic<std::uint64_t> word_{0};
  std::mutex mutex_;
  std::condition_variable drained_;
};

}  // namespace mrlease::client
