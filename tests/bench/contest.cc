// SPDX-License-Identifier: Apache-2.0
#include "contest.h"

#include <getopt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace mrlease::bench {
namespace {

[[noreturn]] void usage(const char* program, bool has_limit) {
  std::fprintf(stderr, "usage: %s [--dir DIR] [--daemon MRLEASED] [--count N] [--json FILE]%s\nDIR must be on ext4, xfs or btrfs.%s\n", program,
               has_limit ? " [--limit RATIO]" : "", has_limit ? " Exit status 1: the ratio to the minimal chain is above --limit." : "");
  std::exit(2);
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

void measure(const Contestants& all, Foreign::Operation operation, int count, std::vector<Series>* to) {
  const Foreign foreign(operation);
  std::vector<Series>& series = *to;
  if (series.empty())
    for (const auto& c : all) series.push_back({c->name(), {}});
  const int warm_up = count / 10 + 1;
  for (int round = -warm_up; round < count; round++) {
    for (std::size_t i = 0; i < all.size(); i++) {
      all[i]->arm();
      const double ns = foreign.perform(all[i]->path());
      if (round >= 0) series[i].values.push_back(ns);
    }
  }
}

}  // namespace

ContestOptions parse_contest(int argc, char** argv, bool has_limit) {
  static const option kLong[] = {{"dir", 1, nullptr, 'd'},   {"daemon", 1, nullptr, 'm'}, {"count", 1, nullptr, 'n'},
                                 {"json", 1, nullptr, 'j'},  {"limit", 1, nullptr, 'l'},  {nullptr, 0, nullptr, 0}};
  ContestOptions o;
  for (int c; (c = ::getopt_long(argc, argv, "", kLong, nullptr)) != -1;) {
    switch (c) {
      case 'd': o.dir = optarg; break;
      case 'm': o.daemon = optarg; break;
      case 'n': o.count = std::atoi(optarg); break;
      case 'j': o.json = optarg; break;
      case 'l':
        if (!has_limit) usage(argv[0], has_limit);
        o.limit = std::atof(optarg);
        break;
      default: usage(argv[0], has_limit);
    }
  }
  if (o.count < 1 || optind != argc) usage(argv[0], has_limit);
  return o;
}

std::vector<Series> contest(const ContestOptions& options, Foreign::Operation operation,
                            const std::function<Contestants(const std::string&)>& make) {
  std::vector<Series> series;
  for (int start = 0; start < kStarts; start++) {
    const TempDir dir(options.dir);
    measure(make(dir.path()), operation, (options.count + kStarts - 1) / kStarts, &series);
  }
  return series;
}

double p50_of(const std::vector<Series>& series, const std::string& name) {
  for (const Series& s : series) {
    if (s.name == name) return percentile(s.values, 0.5);
  }
  return 0;
}

}  // namespace mrlease::bench
