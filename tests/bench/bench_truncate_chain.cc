// SPDX-License-Identifier: Apache-2.0
// How long a foreign truncate waits for the daemon whose client complies at once, against a minimal C chain of the same
// kernel mechanisms and the kernel's own lease break; interleaved, in one run.
#include <cstdio>
#include <memory>

#include "contest.h"
#include "daemon_path.h"
#include "yardsticks.h"

namespace mrlease::bench {
namespace {

void print(const std::vector<Series>& series) {
  const double chain = p50_of(series, "minimal C chain"), lease = p50_of(series, "F_SETLEASE break");
  std::printf("%-18s %8s %12s %12s %10s %10s\n", "truncate 1M->512K", "count", "p50 us", "p99 us", "x chain", "x F_LEASE");
  for (const Series& s : series) {
    const double p50 = percentile(s.values, 0.5);
    std::printf("%-18s %8zu %12.1f %12.1f %10.2f %10.2f\n", s.name.c_str(), s.values.size(), p50 / 1e3,
                percentile(s.values, 0.99) / 1e3, p50 / chain, p50 / lease);
  }
}

int run(const ContestOptions& o) {
  const auto series = contest(o, Foreign::cut, [&](const std::string& dir) {
    Contestants all;
    all.push_back(make_bare(dir));
    all.push_back(make_chain(dir));
    all.push_back(make_lease_holder(dir));
    if (!o.daemon.empty()) all.push_back(make_daemon("mrleased", o.daemon, dir, Leased::Odp));
    return all;
  });
  print(series);
  if (!o.json.empty() && !write_file(o.json, to_json(series, "ns"))) die("write " + o.json);
  const double ratio = p50_of(series, "mrleased") / p50_of(series, "minimal C chain");
  if (o.limit == 0 || o.daemon.empty()) return 0;
  std::printf("%s: mrleased takes %.2f times the minimal chain, the limit is %.2f\n", ratio <= o.limit ? "PASS" : "FAIL",
              ratio, o.limit);
  return ratio <= o.limit ? 0 : 1;
}

}  // namespace
}  // namespace mrlease::bench

int main(int argc, char** argv) { return mrlease::bench::run(mrlease::bench::parse_contest(argc, argv, true)); }
