// SPDX-License-Identifier: Apache-2.0
// How long a foreign truncate waits for the daemon whose client complies at once, against a minimal C chain of the same
// kernel mechanisms and the kernel's own lease break; interleaved, in one run.
#include <getopt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <vector>

#include "daemon_path.h"
#include "processes.h"
#include "samples.h"
#include "yardsticks.h"

namespace mrlease::bench {
namespace {

struct Options {
  std::string dir = "/var/tmp", daemon, json;
  int count = 1000;
  double limit = 0;  // of the ratio mrleased / chain; 0: only tell
};

[[noreturn]] void usage(const char* program) {
  std::fprintf(stderr,
               "usage: %s [--dir DIR] [--daemon MRLEASED] [--count N] [--json FILE] [--limit RATIO]\n"
               "DIR must be on ext4, xfs or btrfs. Exit status 1: the ratio to the minimal chain is above --limit.\n",
               program);
  std::exit(2);
}

Options parse(int argc, char** argv) {
  static const option kLong[] = {{"dir", 1, nullptr, 'd'},   {"daemon", 1, nullptr, 'm'}, {"count", 1, nullptr, 'n'},
                                 {"json", 1, nullptr, 'j'},  {"limit", 1, nullptr, 'l'},  {nullptr, 0, nullptr, 0}};
  Options o;
  for (int c; (c = ::getopt_long(argc, argv, "", kLong, nullptr)) != -1;) {
    switch (c) {
      case 'd': o.dir = optarg; break;
      case 'm': o.daemon = optarg; break;
      case 'n': o.count = std::atoi(optarg); break;
      case 'j': o.json = optarg; break;
      case 'l': o.limit = std::atof(optarg); break;
      default: usage(argv[0]);
    }
  }
  if (o.count < 1 || optind != argc) usage(argv[0]);
  return o;
}

// A directory of its own, removed with the object.
class TempDir {
 public:
  explicit TempDir(const std::string& parent) : path_(parent + "/mrlease-bench-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr || ::chmod(path_.c_str(), 0755) != 0) die("mkdtemp in " + parent);
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Started anew so many times: on which CPUs the threads of a start come to lie shifts all that is measured of it.
constexpr int kStarts = 5;

void measure(const std::vector<std::unique_ptr<Contestant>>& all, int count, std::vector<Series>* to) {
  const Foreign foreign;
  std::vector<Series>& series = *to;
  if (series.empty())
    for (const auto& c : all) series.push_back({c->name(), {}});
  const int warm_up = count / 10 + 1;
  for (int round = -warm_up; round < count; round++) {
    for (std::size_t i = 0; i < all.size(); i++) {
      all[i]->arm();
      const double ns = foreign.cut(all[i]->path());
      if (round >= 0) series[i].values.push_back(ns);
    }
  }
}

double p50_of(const std::vector<Series>& series, const std::string& name) {
  for (const Series& s : series) {
    if (s.name == name) return percentile(s.values, 0.5);
  }
  return 0;
}

void print(const std::vector<Series>& series) {
  const double chain = p50_of(series, "minimal C chain"), lease = p50_of(series, "F_SETLEASE break");
  std::printf("%-18s %8s %12s %12s %10s %10s\n", "truncate 1M->512K", "count", "p50 us", "p99 us", "x chain", "x F_LEASE");
  for (const Series& s : series) {
    const double p50 = percentile(s.values, 0.5);
    std::printf("%-18s %8zu %12.1f %12.1f %10.2f %10.2f\n", s.name.c_str(), s.values.size(), p50 / 1e3,
                percentile(s.values, 0.99) / 1e3, p50 / chain, p50 / lease);
  }
}

int run(const Options& o) {
  std::vector<Series> series;
  for (int start = 0; start < kStarts; start++) {
    const TempDir dir(o.dir);
    std::vector<std::unique_ptr<Contestant>> all;
    all.push_back(make_bare(dir.path()));
    all.push_back(make_chain(dir.path()));
    all.push_back(make_lease_holder(dir.path()));
    if (!o.daemon.empty()) all.push_back(make_daemon(o.daemon, dir.path()));
    measure(all, (o.count + kStarts - 1) / kStarts, &series);
  }
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

int main(int argc, char** argv) { return mrlease::bench::run(mrlease::bench::parse(argc, argv)); }
