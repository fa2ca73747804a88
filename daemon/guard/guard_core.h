// SPDX-License-Identifier: Apache-2.0
// One guard: its thread, its lock, and the two ways of holding, never both on one file.
//
// Thread-safe. mutex_ guards everything but the atomics; the listener is called without it, by the guard thread only.
// answer() responds to the kernel in its caller's thread: one more thread to wake would be one more wait for whoever is
// held. The guard thread does what follows from it: timers, and what the listener is to hear. Tasks are looked at by the guard
// thread only, without the lock, and it may be lost there: then another one is the guard thread (lookout.h).
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "daemon/guard/lease_engine.h"
#include "daemon/guard/lookout.h"
#include "daemon/guard/precontent.h"

namespace mrlease::guard {

class GuardCore : public Guard {
 public:
  // Throws std::system_error.
  GuardCore(Options options, Listener listener, bool precontent_allowed, Heritage heritage = {});
  ~GuardCore() override;

  std::string describe() const override;
  std::vector<std::pair<std::string, int>> groups() const override;
  std::vector<Overdue> await_passing(std::chrono::milliseconds bound) override;
  std::string begin() override;
  Coverage watch(const core::FileKey& file, int fd) override;
  void unwatch(const core::FileKey& file) override;
  void publish(const core::FileKey& file, const core::Needs& needs) override;
  void answer(core::BreakId id, int deny_errno, bool watch_leaving) override;
  bool heartbeat() override;
  void disarm() override;

 private:
  struct Ready {
    bool notices = true;  // there may be some
    bool wake = false, alarm = false, breaks = false, perm = false, precontent = false;
  };

  using Lock = std::unique_lock<std::mutex>;
  // Who is the guard thread.
  struct Watch {
    Lookout* lookout = nullptr;
    Lookout::Shift shift = 0;
  };

  void start_precontent(Heritage* heritage);
  const sys::FanGroup* group_of(Group group) const;
  void finish_answers();
  void take_over(const Orphan& orphan, Clock::time_point look_until);
  void run(const Watch& watch);
  template <class LookAt, class Unseen>
  static auto at(const Watch& watch, Lock& lock, int tid, const LookAt& look, const Unseen& unseen) -> std::optional<decltype(look())>;
  // One round: what somebody waits for, then the rest. False: this thread is relieved, and must not touch the guard any more.
  bool take_events(const Watch& watch, const Ready& ready);
  bool look_after(const Watch& watch, const Ready& ready);
  // The same, with mutex_ held, and opened for each look.
  bool look_at_events(const Watch& watch, Lock& lock);
  bool look_at_passing(const Watch& watch, Lock& lock);
  bool name_changes(const Watch& watch, Lock& lock);
  void wake() const;
  Clock::time_point next_due() const;
  std::chrono::nanoseconds tick() const;
  void set_alarm(Clock::time_point due);
  Ready wait_for_work();
  void read_notices();
  void on_notice(const sys::FanEvent& event);
  void check_main_loop(Clock::time_point now);
  void deliver();
  void place(WatchedFile* file);

  const Options options_;
  const Listener listener_;
  Journal journal_;
  bool begun_;  // under mutex_; false only after a predecessor
  mutable std::mutex mutex_;
  Outbox outbox_;
  WatchedFiles files_;
  Ledger ledger_{&outbox_, &journal_};
  EventDesk desk_{&files_, &ledger_, &journal_, listener_.coming};
  std::unique_ptr<Precontent> precontent_;  // where the kernel has it
  LeaseEngine leases_{&files_, &ledger_, &desk_, &outbox_};
  sys::FanGroup notices_;
  std::string arming_trouble_;
  bool failed_ = false;

  bool quiet_ = false;
  sys::Fd wake_;
  sys::Fd alarm_;  // for what answer() has made due, and the ticks
  Clock::time_point next_tick_{};
  std::atomic<bool> stop_{false};
  std::atomic<Clock::rep> last_heartbeat_;
  std::atomic<std::uint64_t> asked_{0}, replied_{0};  // is the guard's thread there?
  Clock::time_point asked_at_{};                      // the caller's of heartbeat()
  std::shared_ptr<Lookout> lookout_;
};

}  // namespace mrlease::guard
