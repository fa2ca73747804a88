// SPDX-License-Identifier: Apache-2.0
// mrleased: puts the guard, the broker and the listener together, and runs the loop.
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <system_error>

#include "daemon/admin/server.h"
#include "daemon/loop/listener.h"
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

void beat(asio::steady_timer& timer, guard::Guard& guard) {
  guard.heartbeat();
  timer.expires_after(std::chrono::seconds(1));
  timer.async_wait([&](const asio::error_code& error) {
    if (!error) beat(timer, guard);
  });
}

int serve(const loop::Options& options) {
  asio::io_context io;
  session::Broker broker(io, options.session, log_line);
  // The guard cannot go on: whoever waits was let through; systemd starts us again.
  auto failed = [](const std::string& why) {
    log_line(3, "the guard has failed: " + why);
    std::_Exit(1);
  };
  guard::Options guard_options;
  guard_options.roots = options.roots;
  // Before any other thread: the guard blocks its signal, and threads inherit that.
  const auto guard = guard::Guard::create(guard_options, broker.listener(failed));
  broker.attach(guard.get());
  log_line(1, "guard: " + guard->describe());
  loop::Listener listener(io, options.socket, [&](session::Connection::Socket s) { broker.accept(std::move(s)); });
  admin::Configuration configuration;
  configuration.file = [&] { return options.config_file; };
  configuration.options = [&] { return options.listed; };
  configuration.reload = [] { return admin::Reloaded{"this daemon takes new options over only when it is started anew", {}, {}}; };
  admin::Server admin_server(io, broker, options.admin, std::move(configuration), options.roots, log_line);
  asio::steady_timer timer(io);
  beat(timer, *guard);
  asio::signal_set signals(io, SIGTERM, SIGINT);
  signals.async_wait([&](const asio::error_code&, int number) {
    log_line(1, std::string("signal ") + ::strsignal(number) + ": leases are no longer protected");
    listener.close();
    // The guard holds truncates until the last flush is through.
    broker.stop([&] {
      guard->disarm();
      admin_server.stop();
      io.stop();
    });
  });
  log_line(1, "serving " + options.socket);
  if (options.session.break_something) log_line(2, "--break-something: guards are answered without recalling anybody");
  io.run();
  // A worker may hang in a file system: it must not hold up the exit, and nothing it refers to may go before it.
  std::_Exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  int status = 0;
  const auto options = loop::parse(argc, argv, &status);
  if (!options) return status;
  if (options->check_only) return 0;
  set_up_log(*options);
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  try {
    return serve(*options);
  } catch (const std::system_error& e) {
    log_line(3, e.what());
  }
  return 1;
}
