// SPDX-License-Identifier: Apache-2.0
// A truncate by somebody else that recalls 5,000 leases at once, of 5,000 connections of 20 users, beside a bare socket echo of as
// many messages on as many connections; interleaved, in one run. As root, on a file system that the guard holds (ext4, xfs, btrfs).
#include <getopt.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "crowd.h"
#include "daemon_path.h"
#include "ratios.h"
#include "samples.h"
#include "tests/support/daemon_process.h"

namespace mrlease::bench {
namespace {

constexpr int kRounds = 11;
// The echo makes two system calls a message at each end. A recall is a frame as well, that is put together and taken apart, and may be
// as dear as the calls; so is its answer, and a step of the arbiter and a timer, before the next is read.
constexpr double kAskedMost = 3, kAnsweredMost = 5;

struct Options {
  std::string daemon, json;
};

// The daemon needs three descriptors a connection: socket, pidfd, file. It raises its own limit as far as this process may.
void raise_descriptor_limit() {
  constexpr rlim_t kNeeded = 3 * kConnections + 1000;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) die("getrlimit");
  limit.rlim_cur = limit.rlim_max = std::max(limit.rlim_max, kNeeded);
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) die("raise the limit of descriptors to " + std::to_string(kNeeded));
}

// In milliseconds.
struct Results {
  Pairs asked, answered;
  std::vector<double> back;
  double connected = 0, echo_connected = 0;
};

Results measure(const std::string& daemon_path) {
  const test::TestDirectory dir;
  EchoServer server(dir.path("echo"));
  Crowd echoes = Crowd::of_echo(dir.path("echo"));
  server.accept_all();
  Process daemon;
  start_daemon(&daemon, daemon_path, dir.path(), dir.path("socket"));
  ::close(connect_daemon(dir.path("socket")));
  TruncatedFile file(dir.path("leased"));
  Crowd clients = Crowd::of_daemon(dir.path("socket"), file.path());

  Results results;
  results.connected = clients.connected_in();
  results.echo_connected = echoes.connected_in();
  for (int round = -2; round < kRounds; round++) {
    double back = 0;
    const Round ours = file.cut(clients, &back), theirs = server.ask_all(echoes);
    if (round < 0) continue;
    results.asked.ours.push_back(ours.last_asked);
    results.asked.theirs.push_back(theirs.last_asked);
    results.answered.ours.push_back(ours.last_answered);
    results.answered.theirs.push_back(theirs.last_answered);
    results.back.push_back(back);
  }
  return results;
}

// Whether the ratio is below the limit.
bool print(const std::string& what, const Pairs& pairs, double limit) {
  const bool holds = pairs.ratio().middle <= limit;
  std::printf("%s", row(what, pairs, holds ? "PASS" : "FAIL").c_str());
  return holds;
}

int run(const Options& o) {
  raise_descriptor_limit();
  const Results r = measure(o.daemon);
  std::printf("a truncate that recalls %d leases of as many connections, and a bare echo\n%s", kConnections, kRowHead);
  const bool asked = print("ms to the last recall", r.asked, kAskedMost);
  const bool answered = print("ms until it goes on", r.answered, kAnsweredMost);
  std::printf("  limits %.0f and %.0f: a recall is a frame beside the calls, its answer a step too\n", kAskedMost, kAnsweredMost);
  std::printf("  and %.0f ms until the last has its memory back; all connected and leased in\n  %.1f s, the echo's connected in %.1f s\n",
              percentile(r.back, 0.5), r.connected / 1e3, r.echo_connected / 1e3);
  const std::vector<Series> series = {{"last recall / last echo", {r.asked.ratio().middle}},
                                      {"answer / all echoes", {r.answered.ratio().middle}}};
  if (!o.json.empty() && !write_file(o.json, to_json(series, "ratio"))) die("write " + o.json);
  return asked && answered ? 0 : 1;
}

}  // namespace
}  // namespace mrlease::bench

int main(int argc, char** argv) {
  static const option kLong[] = {{"daemon", 1, nullptr, 'm'}, {"json", 1, nullptr, 'j'}, {nullptr, 0, nullptr, 0}};
  mrlease::bench::Options o;
  bool wrong = false;
  for (int c; (c = ::getopt_long(argc, argv, "", kLong, nullptr)) != -1;) {
    if (c == 'm') o.daemon = optarg;
    else if (c == 'j') o.json = optarg;
    else wrong = true;
  }
  if (wrong || o.daemon.empty()) {
    std::fprintf(stderr, "usage: %s --daemon MRLEASED [--json FILE]\nExit status 1: a ratio is above its limit.\n", argv[0]);
    return 2;
  }
  return mrlease::bench::run(o);
}
