// SPDX-License-Identifier: Apache-2.0
// top: what goes on, again and again.
#include <poll.h>
#include <unistd.h>

#include <cmath>
#include <ctime>
#include <iostream>

#include "daemon/ctl/format.h"
#include "daemon/ctl/program.h"
#include "daemon/ctl/signals.h"
#include "daemon/ctl/top_view.h"

namespace mrlease::ctl {
namespace {

// A daemon that is busy shall not make the keys dead for longer.
constexpr std::chrono::seconds kAnswerWithin{2};
constexpr unsigned kFilesShown = 200;

struct Top {
  std::string interval = "1s";
  bool once = false, batch = false;
  std::uint64_t count = 0;  // 0: without end
};

Snapshot take(Client& client) {
  Snapshot s;
  s.stats = client.call(&v1::Admin::Stub::GetStats, v1::GetStatsRequest(), kAnswerWithin);
  v1::ListFilesRequest request;
  request.set_page_size(kFilesShown);
  s.files = client.call(&v1::Admin::Stub::ListFiles, request, kAnswerWithin);
  s.at = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  google::protobuf::Timestamp now;
  now.set_seconds(std::time(nullptr));
  s.clock = time_of_day(now).substr(0, 8);
  return s;
}

// The present and the one before.
class History {
 public:
  // Trouble is shown on the screen: the daemon may be restarting.
  void look(Client& client, bool forgive) {
    try {
      Snapshot fresh = take(client);
      before_ = std::move(now_);
      now_ = std::move(fresh);
    } catch (const Failed& e) {
      if (!forgive) throw;
      if (!now_) now_.emplace();
      now_->trouble = e.text;
    }
  }
  std::vector<std::string> lines(Size size) const { return top_lines(*now_, before_ ? &*before_ : nullptr, size); }
  std::string json() const {
    return to_json(now_->stats, true) + to_json(now_->files, true);
  }

 private:
  std::optional<Snapshot> now_, before_;
};

void print(const Program& p, const History& history) {
  if (p.json) {
    std::cout << history.json() << std::flush;
    return;
  }
  const std::size_t columns = p.width() == 0 ? 1000 : p.width();
  for (const auto& line : history.lines({0, columns})) std::cout << line << "\n";
  std::cout << std::flush;
}

int batch(Program& p, const Top& t, int interval_ms) {
  Signals signals({SIGINT, SIGTERM});
  Client client = p.connect();
  History history;
  for (std::uint64_t shown = 0;;) {
    history.look(client, false);
    if (shown > 0 && !p.json) std::cout << "\n";
    print(p, history);
    if (t.once || ++shown == t.count || !std::cout) return kDone;
    pollfd fd{signals.fd(), POLLIN, 0};
    if (::poll(&fd, 1, interval_ms) > 0 && signals.take()) return kDone;
  }
}

// Until q, ^C, or the terminal is gone.
int live(Program& p, const Top& t, int interval_ms) {
  Signals signals({SIGINT, SIGTERM, SIGHUP, SIGWINCH});
  Client client = p.connect();
  History history;
  history.look(client, false);  // what is wrong from the start is an error, not a screen
  Screen screen;
  for (std::uint64_t shown = 0;;) {
    screen.draw(history.lines(terminal_size(STDOUT_FILENO)));
    pollfd fds[] = {{signals.fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    const int ready = ::poll(fds, 2, interval_ms);
    const int signal = fds[0].revents ? signals.take() : 0;
    if (signal != 0 && signal != SIGWINCH) return kDone;
    if (fds[1].revents) {
      char key = 0;
      if (::read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q' || key == 3 || key == 27) return kDone;
    }
    if (signal == SIGWINCH) continue;  // only the shape has changed
    if (ready == 0 && ++shown == t.count) return kDone;
    history.look(client, true);
  }
}

int run(Program& p, const Top& t) {
  const auto interval = parse_duration_ms(t.interval);
  if (!interval || *interval < 100 || *interval > 3600000) throw Failed{kUsage, "--interval: '" + t.interval + "' is not allowed: 100ms to 1h"};
  const int ms = static_cast<int>(*interval);
  return t.once || t.batch || p.json ? batch(p, t, ms) : live(p, t, ms);
}

}  // namespace

void add_top_command(Program& p) {
  const auto t = std::make_shared<Top>();
  CLI::App* sub = p.add("top", "Leases, breaks, waits and fences, live; q ends it", [&p, t] { return run(p, *t); });
  sub->add_flag("--once", t->once, "Print one picture, and end");
  sub->add_flag("--batch", t->batch, "Print pictures one after the other, for files and pipes");
  sub->add_option("--interval", t->interval, "Between pictures")->type_name("TIME")->capture_default_str();
  sub->add_option("--count", t->count, "End after so many pictures")->type_name("N");
}

}  // namespace mrlease::ctl
