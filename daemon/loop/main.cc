// SPDX-License-Identifier: Apache-2.0
// mrleased: puts the guard, the broker and the listener together, and runs the loop.
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <optional>
#include <system_error>

#include "daemon/keep/manager.h"
#include "daemon/loop/listener.h"
#include "daemon/loop/office.h"
#include "daemon/loop/options.h"
#include "daemon/session/broker.h"

namespace {

using namespace mrlease;

void log_line(int level, const std::string& line) {
  static constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err};
  spdlog::log(kLevels[level], "{}", line);
}

void set_up_log(const loop::Options& options) {
  auto logger = spdlog::stderr_color_mt("mrleased");
  spdlog::set_default_logger(logger);
  // systemd stamps the time itself.
  spdlog::set_pattern(options.foreground ? "%H:%M:%S.%e %^%l%$ %v" : "%l %v");
  spdlog::set_level(spdlog::level::from_str(options.log_level));
}

// Several descriptors a lease: without them fanotify gives the foreign caller EPERM.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// The manager's watchdog hears of us while both the loop and the guard's thread go round.
void beat(asio::steady_timer& timer, guard::Guard& guard, std::chrono::milliseconds interval) {
  if (guard.heartbeat()) keep::tell_alive();
  timer.expires_after(interval);
  timer.async_wait([&, interval](const asio::error_code& error) {
    if (!error) beat(timer, guard, interval);
  });
}

std::chrono::milliseconds beat_interval() {
  using std::chrono::milliseconds;
  return std::min(keep::watchdog_interval().value_or(milliseconds(1000)), milliseconds(1000));
}

// SIGHUP: the options are read again. A mistake in them is told, and what was in force stays so.
void on_hangup(asio::signal_set& signals, const std::function<void()>& reload) {
  signals.async_wait([&signals, reload](const asio::error_code& error, int) {
    if (error) return;
    keep::tell_reloading();
    reload();
    keep::tell_ready("serving");
    on_hangup(signals, reload);
  });
}

int serve(const loop::Options& options, keep::Keeper& keeper, const std::function<std::optional<loop::Options>()>& read_again) {
  asio::io_context io;
  loop::Office office(keeper);
  session::Broker broker(io, options.session, log_line, {&keeper, office.state()});
  // The guard cannot go on: whoever waits was let through; systemd starts us again.
  auto failed = [](const std::string& why) {
    log_line(3, "the guard has failed: " + why);
    std::_Exit(1);
  };
  guard::Options guard_options;
  guard_options.roots = options.roots;
  // Before any other thread: the guard blocks its signal, and threads inherit that.
  guard_options.successor_comes = keeper.active();
  const auto guard = guard::Guard::create(guard_options, broker.listener(failed), office.heritage());
  broker.attach(guard.get());
  log_line(1, "guard: " + guard->describe());
  office.take_over(*guard, broker, std::chrono::milliseconds(options.session.policy.passing_bound), log_line);
  loop::Listener listener(io, options.socket, [&](session::Connection::Socket s) { broker.accept(std::move(s)); },
                          office.listener());
  office.keep_listener(listener.fd());
  asio::steady_timer timer(io);
  beat(timer, *guard, beat_interval());
  asio::signal_set hangups(io, SIGHUP);
  on_hangup(hangups, [&] {
    const auto again = read_again();
    if (again) broker.reload(again->session);
    log_line(again ? 1 : 3, again ? "the options are read again: deadlines and policies are in force" : "the options are wrong: nothing was changed");
  });
  asio::signal_set signals(io, SIGTERM, SIGINT);
  signals.async_wait([&](const asio::error_code&, int number) {
    keep::tell_stopping();
    // Kept, all goes on with a successor; when none comes, the service manager closes it, and so lets everybody go.
    const bool kept = keeper.active();
    log_line(1, std::string("signal ") + ::strsignal(number) + (kept ? ": a successor takes the leases over, if there is one"
                                                                    : ": leases are no longer protected"));
    if (!kept) listener.close();
    // The guard holds truncates until the last flush is through.
    broker.stop([&, kept] {
      if (!kept) guard->disarm();
      io.stop();
    });
  });
  log_line(1, "serving " + options.socket);
  if (options.session.break_something) log_line(2, "--break-something: guards are answered without recalling anybody");
  office.serves();
  keep::tell_ready("serving " + options.socket);
  io.run();
  // A worker may hang in a file system: it must not hold up the exit, and nothing it refers to may go before it.
  std::_Exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  int status = 0;
  keep::Keeper keeper(keep::take_inherited());  // before anything is opened
  const auto options = loop::parse(argc, argv, &status);
  if (!options) return status;
  if (options->check_only) return 0;
  set_up_log(*options);
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  try {
    return serve(*options, keeper, [argc, argv] {
      int ignored = 0;
      return loop::parse(argc, argv, &ignored);
    });
  } catch (const std::system_error& e) {
    log_line(3, e.what());
  }
  return 1;
}
