// SPDX-License-Identifier: Apache-2.0
#include "daemon/loop/log.h"

#include <pthread.h>
#include <spdlog/async.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <condition_variable>
#include <iostream>
#include <mutex>

#include "daemon/sys/blocked_signals.h"

namespace mrlease::loop::log {

namespace {

// Stands behind the one that writes, and so knows what has been written.
class Written final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  // Until that many lines were written or lost.
  void wait_for(std::size_t lines, std::chrono::milliseconds at_most) {
    std::unique_lock lock(mutex_);
    grown_.wait_for(lock, at_most, [&] { return lines_ + spdlog::thread_pool()->overrun_counter() >= lines; });
  }

 private:
  void sink_it_(const spdlog::details::log_msg&) override {
    std::lock_guard lock(mutex_);
    lines_++;
    grown_.notify_all();
  }
  void flush_() override {}
  std::mutex mutex_;
  std::condition_variable grown_;
  std::size_t lines_ = 0;
};

std::shared_ptr<Written> written;
std::atomic<std::size_t> said{0}, lost_told{0};

void say(spdlog::level::level_enum level, const std::string& text) {
  if (!spdlog::should_log(level)) return;
  said++;
  spdlog::log(level, "{}", text);
}

// Not while it is as bad as that still: it would take the place of another.
void tell_lost() {
  const auto pool = spdlog::thread_pool();
  const std::size_t lost = pool->overrun_counter(), before = lost_told;
  if (lost == before || pool->queue_size() > kLinesMax / 2) return;
  std::size_t expected = before;
  if (lost_told.compare_exchange_strong(expected, lost))
    say(spdlog::level::err, std::to_string(lost - before) + " lines of this log are lost: whoever reads it was too slow");
}

}  // namespace

void begin(const std::string& level, bool stamped) {
  {
    const sys::BlockedSignals for_the_thread;
    spdlog::init_thread_pool(kLinesMax, 1, [] { ::pthread_setname_np(::pthread_self(), "mrl-log"); });
  }
  const auto last = std::make_shared<Written>();
  const spdlog::sinks_init_list sinks = {std::make_shared<spdlog::sinks::stderr_color_sink_mt>(), last};
  spdlog::set_default_logger(
      std::make_shared<spdlog::async_logger>("mrleased", sinks, spdlog::thread_pool(), spdlog::async_overflow_policy::overrun_oldest));
  spdlog::set_pattern(stamped ? "%H:%M:%S.%e %^%l%$ %v" : "%l %v");
  set_level(level);
  written = last;
}

void set_level(const std::string& level) { spdlog::set_level(spdlog::level::from_str(level)); }

void line(int level, const std::string& text) {
  if (!written) {  // there is no thread for it
    std::cerr << text << "\n";
    return;
  }
  static constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err};
  say(kLevels[level], text);
  tell_lost();
}

void end(std::chrono::milliseconds at_most) {
  if (written) written->wait_for(said, at_most);
}

}  // namespace mrlease::loop::log
