// SPDX-License-Identifier: Apache-2.0
// Who looks at another's task may not come back. The files in /proc wait for locks which who is looked at can hold for as long as
// he likes: /proc/TID/syscall, and others since, for an execve(2) that closes a descriptor on a file server of his (exec_update_lock;
// fs/proc/base.c, lock_trace()), /proc/TID/fdinfo for who is inside an epoll descriptor (ep->mtx; fs/eventpoll.c, ep_show_fdinfo()), and, where
// there is no procfs of the daemon's own, each name for its directory's lock (sys/own_proc.h).
//
// So whoever is on duty can be lost there, and somebody else, who stands by, goes on with the duty. Who is lost touches nothing any
// more: when he comes back he is told so, and ends.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "daemon/sys/debt.h"

namespace mrlease::guard {

// Thread-safe. Its threads share it: those that are lost may outlive all else.
class Lookout : public std::enable_shared_from_this<Lookout> {
 public:
  using Shift = std::uint64_t;
  // Works until it is told to end by others, or until is_back() is false.
  using Duty = std::function<void(Lookout&, Shift)>;

  // So many are lost at the most; then no task is looked at until one of them is back.
  static constexpr std::size_t kLostMax = 64;

  // Once somebody is lost others may be meant to follow, each of whom costs as much as this.
  static constexpr std::chrono::milliseconds kLittlePatience{20};

  // Two threads: one on duty, one that stands by. Throws std::system_error.
  static std::shared_ptr<Lookout> begin(Duty duty, std::chrono::milliseconds little_patience = kLittlePatience);
  // Waits for the duty to end, which has been told to.
  void end();

  // Around a look at a task, by who is on duty. False: nobody is to look at that one, somebody is lost there; or at none, so many are, or so
  // much time has gone into looks that took theirs.
  bool goes(Shift shift, int tid);
  // False: he was away for too long, and another is on duty.
  bool is_back(Shift shift);

 private:
  void serve(Shift shift, std::unique_lock<std::mutex>& lock);
  void stand_by();
  bool sees_a_loss(std::unique_lock<std::mutex>& lock);
  void send_stand_by();

  Duty duty_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread on_duty_, standing_by_;
  Shift shift_ = 0;               // the one that is on
  std::uint64_t looks_ = 0;       // so far; the last one is under way when
  bool looking_ = false;
  int looked_at_ = 0;
  std::chrono::steady_clock::time_point since_;
  sys::Debt debt_{std::chrono::seconds(2), std::chrono::milliseconds(5)};
  std::chrono::milliseconds little_patience_ = kLittlePatience;
  bool rests_ = false;            // who stands by, while nobody looks
  bool done_ = false, over_ = false;
  std::map<Shift, int> lost_;     // at which tasks
};

}  // namespace mrlease::guard
