// SPDX-License-Identifier: Apache-2.0
// mrleased: puts the guard, the broker and the listener together, and runs the loop.
#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <system_error>

#include "daemon/admin/server.h"
#include "daemon/config/settings.h"
#include "daemon/config/table.h"
#include "daemon/keep/manager.h"
#include "daemon/loop/emergency.h"
#include "daemon/loop/listener.h"
#include "daemon/loop/log.h"
#include "daemon/loop/office.h"
#include "daemon/loop/reloader.h"
#include "daemon/session/broker.h"
#include "daemon/sys/own_proc.h"
#include "daemon/sys/pid_namespace.h"

namespace {

using namespace mrlease;

// What libraries say. By themselves they write to stderr, where the log's thread may be waiting for the reader, with the stream locked; and what a
// client sends has protobuf say something (a string that is not UTF-8).
void tell_of_grpc(gpr_log_func_args* said) {
  loop::log::line(said->severity == GPR_LOG_SEVERITY_ERROR ? 2 : 0, std::string("gRPC: ") + said->message);
}
void tell_of_protobuf(google::protobuf::LogLevel level, const char*, int, const std::string& message) {
  loop::log::line(level == google::protobuf::LOGLEVEL_FATAL ? 3 : 0, "protobuf: " + message);
}

// Nothing is taken apart, and no core is dumped, which takes as long as all bounce pages are large: whoever is held waits for a successor.
[[noreturn]] void end_at_once() {
  std::string why = "a defect";
  try {
    if (std::current_exception()) throw;
  } catch (const std::exception& e) {
    why = e.what();
  } catch (...) {
  }
  loop::log::line(3, "ends at once: " + why);
  loop::log::end();
  std::_Exit(1);
}

// Several descriptors a lease: without them fanotify gives the foreign caller EPERM.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// The manager's watchdog hears of us, and the guard's dead man of the loop, while both threads go round and what the guard
// tells the loop arrives there.
void beat(asio::steady_timer& timer, session::Broker& broker, guard::Guard& guard, std::chrono::milliseconds interval) {
  broker.by_mailbox([&, interval] {
    if (guard.heartbeat()) keep::tell_alive();
    timer.expires_after(interval);
    timer.async_wait([&, interval](const asio::error_code& error) {
      if (!error) beat(timer, broker, guard, interval);
    });
  });
}

// A signal that waits meanwhile.
class Blocked {
 public:
  explicit Blocked(int signal) {
    ::sigemptyset(&set_);
    ::sigaddset(&set_, signal);
    ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  void over() const { ::pthread_sigmask(SIG_UNBLOCK, &set_, nullptr); }

 private:
  sigset_t set_{};
};

std::chrono::milliseconds beat_interval() {
  using std::chrono::milliseconds;
  return std::min(keep::watchdog_interval().value_or(milliseconds(1000)), milliseconds(1000));
}

// SIGHUP, for as long as the loop runs.
void reload_on(asio::signal_set& hangup, loop::Reloader& reloader) {
  hangup.async_wait([&](const asio::error_code& error, int) {
    if (error) return;
    keep::tell_reloading();
    reloader.reload([](const auto&) { keep::tell_ready("serving"); });
    reload_on(hangup, reloader);
  });
}

// What the admin service tells of the options, and how it has them read again.
admin::Configuration facts_of(loop::Reloader& reloader) {
  admin::Configuration configuration;
  configuration.file = [&] { return reloader.settings().file; };
  configuration.options = [&] {
    std::vector<admin::OptionFacts> facts;
    for (const config::Row& row : config::table()) {
      if (row.hidden) continue;
      const config::Settings& settings = reloader.settings();
      facts.push_back({row.name, row.get(settings.options), row.get({}), config::word(settings.sources.at(row.name)), row.reloadable, row.help});
    }
    for (const session::Rule& rule : reloader.settings().options.session.rules) {
      admin::OptionFacts fact{"rule", {}, {}, "file", true, "line " + std::to_string(rule.line)};
      for (const config::RuleRow& row : config::rule_table())
        for (const std::string& value : row.get(rule)) fact.values.push_back(row.name + "=" + value);
      facts.push_back(std::move(fact));
    }
    return facts;
  };
  const auto told = [](const loop::Reloader::Result& r) {
    admin::Reloaded reloaded{{}, r.difference.changed, r.difference.needs_restart, {}};
    for (const auto& problem : r.problems) reloaded.error += (reloaded.error.empty() ? "" : "\n") + problem;
    return reloaded;
  };
  configuration.reload = [&reloader, told](std::function<void(const admin::Reloaded&)> done) {
    reloader.reload([told, done = std::move(done)](const loop::Reloader::Result& r) { done(told(r)); });
  };
  configuration.try_out = [&reloader, told](std::function<void(const admin::Reloaded&)> done) {
    reloader.try_out([told, done = std::move(done)](const loop::Reloader::Result& r, const config::Options& would_be) {
      admin::Reloaded tried = told(r);
      tried.would_be = config::for_session(would_be);
      done(tried);
    });
  };
  return configuration;
}

// A name that is mistyped would leave its file system unarmed without anybody's noticing. Throws, unless leases are taken over.
void check_roots(const std::vector<std::string>& roots, bool follows) {
  for (const std::string& root : roots) {
    if (::access(root.c_str(), F_OK) == 0) continue;
    const std::system_error missing(errno, std::generic_category(), "--root " + root + " cannot be armed");
    if (!follows) throw missing;
    loop::log::line(3, std::string(missing.what()) + "; goes on without it");
  }
}

int serve(const config::CommandLine& line, const config::Settings& settings, keep::Keeper& keeper) {
  const config::Options& options = settings.options;
  const Blocked hangup_later(SIGHUP);  // it would end the process until `hangup` stands
  loop::Office office(keeper);         // before any descriptor is opened, whose number may be one that it has to reserve
  if (!sys::has_own_proc()) loop::log::line(2, "no procfs of its own (it takes CAP_SYS_ADMIN, and fsopen(2)): who can make others wait for /proc can make the daemon wait");
  asio::io_context io;
  asio::signal_set hangup(io, SIGHUP);
  hangup_later.over();
  check_roots(options.roots, office.follows());
  session::Holders holders((std::filesystem::path(options.socket).parent_path() / "holders").string());
  session::Broker broker(io, config::for_session(options), loop::log::line, {&keeper, office.state(), &holders});
  // The guard cannot go on: whoever waits was let through; systemd starts us again.
  auto failed = [](const std::string& why) {
    loop::log::line(3, "the guard has failed: " + why);
    loop::log::end();
    std::_Exit(1);
  };
  guard::Options guard_options;
  guard_options.roots = options.roots;
  guard_options.successor_comes = keeper.active();
  const auto guard = guard::Guard::create(guard_options, broker.listener(failed), office.heritage());
  broker.attach(guard.get());
  loop::log::line(1, "guard: " + guard->describe());
  if (!sys::in_first_pid_namespace())
    loop::log::line(2, "this is not the host's pid namespace: clients outside of it are refused, and what tasks outside of it do "
                       "counts as the worst that it can be");
  office.take_over(*guard, broker, std::chrono::milliseconds(options.session.policy.passing_bound), loop::log::line);
  broker.await_reclaims();
  loop::Listener listener(io, options.socket, [&](session::Connection::Socket s) { broker.accept(std::move(s)); },
                          office.listener());
  office.keep_listener(listener.fd());
  std::atomic<admin::Server*> told{nullptr};
  loop::Emergency emergency(options.socket, [&] { guard->disarm(); }, [&] {
    if (admin::Server* server = told) server->guard_gone();
    loop::log::line(3, "disarmed by mrleasectl: leases are no longer protected; restart mrleased to arm again");
  });
  loop::Reloader reloader(io, line, settings, [&](const config::Options& fresh, const config::Difference& difference) {
    loop::log::set_level(fresh.log_level);
    if (!difference.changed.empty()) broker.reconfigure(config::for_session(fresh));
    broker.chronicle().note(session::happening::ConfigReloaded{difference.changed, difference.needs_restart});
  }, loop::log::line);
  admin::Server admin_server(io, broker, config::for_admin(options), facts_of(reloader), options.roots, office.drains(), loop::log::line, office.follows());
  told = &admin_server;
  asio::steady_timer timer(io);
  beat(timer, broker, *guard, beat_interval());
  asio::signal_set signals(io, SIGTERM, SIGINT);
  signals.async_wait([&](const asio::error_code&, int number) {
    keep::tell_stopping();
    // Kept, all goes on with a successor; when none comes, the service manager closes it, and so lets everybody go.
    const bool kept = keeper.active();
    loop::log::line(1, std::string("signal ") + ::strsignal(number) +
                           (kept ? ": a successor takes the leases over, if there is one" : ": leases are no longer protected"));
    if (!kept) listener.close();
    // The guard holds truncates until the last flush is through.
    broker.stop([&, kept] {
      if (!kept) guard->disarm();
      ::unlink(emergency.path().c_str());  // destructors do not run
      admin_server.stop();
      io.stop();
    });
  });
  reload_on(hangup, reloader);
  loop::log::line(1, "serving " + options.socket);
  if (options.session.break_something) loop::log::line(2, "--break-something: guards are answered without recalling anybody");
  office.serves();
  keep::tell_ready("serving " + options.socket);
  [&io]() noexcept { io.run(); }();
  // A worker may hang in a file system: it must not hold up the exit, and nothing it refers to may go before it.
  loop::log::end();
  std::_Exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  // By default each thread has an arena of its own, which keeps what its busiest moment needed: what the daemon takes of the machine went on
  // growing for hours, in steps that nobody can tell from a leak. None of them allocates so much that it would wait for another's.
  ::mallopt(M_ARENA_MAX, 2);  // malloc.h
  // And the batches of pages (256 KiB) go back when they are free. By default the first of them that is freed moves the threshold above their
  // size, and later ones stay in an arena wherever something small has come to lie behind them.
  ::mallopt(M_MMAP_THRESHOLD, 128 * 1024);  // malloc.h: the default, not moved any more
  int status = 0;
  keep::Keeper keeper(keep::take_inherited());  // before anything is opened
  const auto line = config::parse_command_line(argc, argv, &status);
  if (!line) return status;
  config::Loaded loaded = config::load(*line);
  for (const auto& problem : loaded.problems) std::cerr << "mrleased: " << problem << "\n";
  if (const auto kept = keeper.unclaimed(); !loaded.settings && std::find(kept.begin(), kept.end(), "state") != kept.end()) {
    // Others are held, and leases run: they would wait until somebody mends the file.
    std::cerr << "mrleased: a predecessor's leases are taken over without the file, with what the command line says and the "
                 "defaults, until the file is mended and mrleased restarted\n";
    loaded = config::without_file(*line);
  }
  if (!loaded.settings) return 2;
  if (line->check_only) {
    std::cout << (loaded.settings->file.empty() ? "no configuration file" : loaded.settings->file) << ": fine\n";
    return 0;
  }
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  try {
    loop::log::begin(loaded.settings->options.log_level, loaded.settings->options.foreground);
    ::gpr_set_log_function(tell_of_grpc);
    google::protobuf::SetLogHandler(tell_of_protobuf);
    std::set_terminate(end_at_once);
    return serve(*line, *loaded.settings, keeper);
  } catch (const std::system_error& e) {
    loop::log::line(3, e.what());
  }
  loop::log::end();
  std::_Exit(1);  // the log's thread may still wait for its reader
}
