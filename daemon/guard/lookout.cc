// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/lookout.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

namespace mrlease::guard {
namespace {

using std::chrono::milliseconds;

// A look takes microseconds, and longer where all CPUs are busy: to take somebody for lost who is not costs the operation that he
// looked at an answer for the worst case.
constexpr milliseconds kPatience{250};

}  // namespace

std::shared_ptr<Lookout> Lookout::begin(Duty duty, milliseconds little_patience) {
  auto lookout = std::make_shared<Lookout>();
  lookout->little_patience_ = little_patience;
  lookout->duty_ = std::move(duty);
  std::unique_lock lock(lookout->mutex_);
  lookout->standing_by_ = std::thread([lookout] { lookout->stand_by(); });
  try {
    lookout->on_duty_ = std::thread([lookout] {
      std::unique_lock inner(lookout->mutex_);
      lookout->serve(++lookout->shift_, inner);
    });
  } catch (const std::system_error&) {
    lookout->over_ = true;
    lock.unlock();
    lookout->standing_by_.join();
    throw;
  }
  return lookout;
}

void Lookout::end() {
  std::thread last, behind;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
    over_ = true;
    changed_.notify_all();
    last = std::move(on_duty_);
    behind = std::move(standing_by_);
  }
  last.join();
  if (behind.joinable()) behind.join();
}

bool Lookout::goes(Shift shift, int tid) {
  bool rested = false;
  {
    std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (shift != shift_ || lost_.size() >= kLostMax || !debt_.allows(now)) return false;
    if (std::any_of(lost_.begin(), lost_.end(), [tid](const auto& lost) { return lost.second == tid; })) return false;
    if (!standing_by_.joinable()) send_stand_by();
    if (!standing_by_.joinable()) return false;
    ++looks_;
    looking_ = true;
    looked_at_ = tid;
    since_ = now;
    rested = std::exchange(rests_, false);
  }
  if (rested) changed_.notify_all();
  return true;
}

bool Lookout::is_back(Shift shift) {
  std::lock_guard lock(mutex_);
  if (shift != shift_) {
    lost_.erase(shift);
    return false;
  }
  looking_ = false;
  debt_.waited(std::chrono::steady_clock::now() - since_);
  return true;
}

void Lookout::serve(Shift shift, std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  ::pthread_setname_np(::pthread_self(), "mrl-guard");
  duty_(*this, shift);
  lock.lock();
  if (shift != shift_) return;
  done_ = true;
  changed_.notify_all();
}

void Lookout::stand_by() {
  ::pthread_setname_np(::pthread_self(), "mrl-standby");
  std::unique_lock lock(mutex_);
  if (!sees_a_loss(lock)) return;
  lost_[shift_] = looked_at_;
  debt_.waited(std::chrono::steady_clock::now() - since_);
  looking_ = false;
  on_duty_.detach();
  on_duty_ = std::move(standing_by_);
  send_stand_by();
  serve(++shift_, lock);
}

// Without one nobody is replaced; it is tried again with each look.
void Lookout::send_stand_by() {
  try {
    standing_by_ = std::thread([self = shared_from_this()] { self->stand_by(); });
  } catch (const std::system_error&) {
  }
}

// One look that was under way all the time. False: all is over.
bool Lookout::sees_a_loss(std::unique_lock<std::mutex>& lock) {
  while (!over_) {
    const std::uint64_t before = looks_;
    changed_.wait_for(lock, lost_.empty() ? kPatience : little_patience_, [this] { return over_; });
    if (over_ || looks_ != before) continue;
    if (looking_) return true;
    rests_ = true;
    changed_.wait(lock, [this] { return over_ || !rests_; });
  }
  return false;
}

}  // namespace mrlease::guard
