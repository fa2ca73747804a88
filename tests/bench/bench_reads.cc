// SPDX-License-Identifier: Apache-2.0
// How long a foreign read(2) of a page of a leased file waits for the daemon: where nothing is to be done for it (odp), beside a bare
// responder; and with bounce pages, which the daemon compares first, beside a responder that asks a process and compares a page.
#include <cstdio>
#include <memory>

#include "contest.h"
#include "daemon_path.h"
#include "yardsticks.h"

namespace mrlease::bench {
namespace {

struct Judged {
  const char *ours, *theirs;
  double limit;
};
constexpr Judged kJudged[] = {{"mrleased, odp", "bare responder", 1.3}, {"mrleased, bounce", "ask and compare", 1.5}};

void print(const std::vector<Series>& series) {
  std::printf("%-18s %8s %12s %12s\n", "read of a page", "count", "p50 us", "p99 us");
  for (const Series& s : series)
    std::printf("%-18s %8zu %12.1f %12.1f\n", s.name.c_str(), s.values.size(), percentile(s.values, 0.5) / 1e3, percentile(s.values, 0.99) / 1e3);
}

int judge(const std::vector<Series>& series) {
  int status = 0;
  for (const Judged& j : kJudged) {
    const double ratio = p50_of(series, j.ours) / p50_of(series, j.theirs);
    std::printf("%s: %s takes %.2f times what '%s' does, the limit is %.2f\n", ratio <= j.limit ? "PASS" : "FAIL", j.ours, ratio, j.theirs, j.limit);
    if (ratio > j.limit) status = 1;
  }
  return status;
}

int run(const ContestOptions& o) {
  const auto series = contest(o, Foreign::read_page, [&](const std::string& dir) {
    Contestants all;
    all.push_back(make_bare(dir));
    all.push_back(make_responder(dir));
    all.push_back(make_comparer(dir));
    if (!o.daemon.empty()) {
      all.push_back(make_daemon("mrleased, odp", o.daemon, dir, Leased::Odp));
      all.push_back(make_daemon("mrleased, bounce", o.daemon, dir, Leased::Bounce));
    }
    return all;
  });
  print(series);
  if (!o.json.empty() && !write_file(o.json, to_json(series, "ns"))) die("write " + o.json);
  return o.daemon.empty() ? 0 : judge(series);
}

}  // namespace
}  // namespace mrlease::bench

int main(int argc, char** argv) { return mrlease::bench::run(mrlease::bench::parse_contest(argc, argv, false)); }
