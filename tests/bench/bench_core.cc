// SPDX-License-Identifier: Apache-2.0
// The arbiter with a million leases: what each takes, a step beside the same step among a thousand, and its index beside a bare
// interval tree; interleaved, in one run.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "allocations.h"
#include "bare_intervals.h"
#include "daemon/core/interval_index.h"
#include "json_main.h"
#include "lease_load.h"
#include "memory_waits.h"
#include "processes.h"
#include "ratios.h"
#include "samples.h"

namespace mrlease::bench {
namespace {

constexpr std::size_t kFew = 1000, kMany = 1'000'000;
constexpr double kBytesMost = 256;
constexpr int kPairs = 41, kTurns = 1000, kStabs = 20000;
// A step among many may take twice the time of one among few. Of a lease that nothing has touched for long it has to wait for memory,
// too: a grant, a release, a write or a truncate for about ten things, one behind the other, in about six steps.
constexpr double kStepsMost = 2, kWaitsMost = 2;
// The bare tree is built once, in one block, and so small that the largest caches hold it; ours changes, and knows whose each is.
constexpr double kStabsMost = 2;

// A step never waits for anybody, so only the time counts in which this thread had the CPU.
double thread_ns() {
  timespec now;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double bytes_a_lease(LeaseLoad& load, std::size_t leases) {
  const std::size_t before = allocated();
  load.grant_all();
  return static_cast<double>(allocated() - before) / static_cast<double>(leases);
}

double ns_a_step(LeaseLoad& load, LeaseLoad::Of of) {
  load.draw(3 * kTurns, of);
  const std::uint64_t before = load.steps();
  const double begin = thread_ns();
  for (int i = 0; i < kTurns; i++) {
    load.replace_lease();
    load.foreign_write();
    load.foreign_truncate();
  }
  return (thread_ns() - begin) / static_cast<double>(load.steps() - before);
}

double ns_a_wait(MemoryWaits& memory) {
  constexpr int kWaits = 20000;
  const double begin = thread_ns();
  memory.wait(kWaits);
  return (thread_ns() - begin) / kWaits;
}

double print_bytes(const char* name, LeaseLoad& few, LeaseLoad& many) {
  const double small = bytes_a_lease(few, kFew), large = bytes_a_lease(many, kMany);
  std::printf("%-24s %9.1f %9.1f  most %.0f%18s%s\n", name, large, small, kBytesMost, "", judge(std::max(large, small), kBytesMost));
  return large;
}

void measure_leases(std::vector<Series>* to) {
  LeaseLoad few(kFew), many(kMany);
  const double large = print_bytes("bytes a lease, in all", few, many);
  to->push_back({"bytes a lease of a million", {large}});
  for (const auto& [name, per_file] : {std::pair("bytes, ten a file", std::size_t{10}), std::pair("bytes, one a file", std::size_t{1})}) {
    LeaseLoad one(kFew, per_file), all(kMany, per_file);
    to->push_back({name, {print_bytes(name, one, all)}});
  }

  const auto of = [](LeaseLoad& load, LeaseLoad::Of what) { return [&load, what] { return ns_a_step(load, what); }; };
  const Pairs busy = measure_pairs(kPairs, of(many, LeaseLoad::Of::OneJob), of(few, LeaseLoad::Of::OneJob));
  std::printf("%s", row("ns a step, of one job's", busy, judge(busy.ratio().middle, kStepsMost)).c_str());
  to->push_back({"step among a million / a thousand", {busy.ratio().middle}});

  MemoryWaits memory(static_cast<std::size_t>(large * kMany));
  std::vector<double> waits;
  const Pairs cold = measure_pairs(kPairs, of(many, LeaseLoad::Of::Any), [&] {
    const double base = ns_a_step(few, LeaseLoad::Of::Any), wait = ns_a_wait(memory);
    waits.push_back(wait);
    return base + kWaitsMost * wait;
  });
  std::printf("%s", row("ns a step, of any", cold, judge(cold.ratio().middle, 1)).c_str());
  std::printf("  theirs: a thousand's, and %.0f waits for memory of %.0f ns\n", kWaitsMost, percentile(waits, 0.5));
  to->push_back({"step on any of a million / its limit", {cold.ratio().middle}});
}

// A million leases of one file, as LeaseLoad has them of many: each over half of its neighbours, and one over all.
void measure_index(std::vector<Series>* to) {
  constexpr std::uint64_t kStride = 16384, kLength = 24576;
  std::vector<core::Extent> extents{{0, kMany * kStride}};
  for (std::uint64_t i = 0; i < kMany; i++) extents.push_back({i * kStride, i * kStride + kLength});
  core::IntervalIndex index;
  for (std::size_t i = 0; i < extents.size(); i++) index.insert(extents[i], i + 1);
  const BareIntervals bare(extents);

  // Each draws the same bytes for itself, and adds up what it has found.
  struct Stabs {
    std::mt19937_64 random{5};
    std::vector<std::uint64_t> at = std::vector<std::uint64_t>(kStabs);
    std::uint64_t sum = 0;
  } ours, theirs;
  const auto measure = [](Stabs& stabs, const auto& stab) {
    for (std::uint64_t& at : stabs.at) at = stabs.random() % (kMany * kStride);
    const double begin = thread_ns();
    for (const std::uint64_t at : stabs.at) stab(at);
    return (thread_ns() - begin) / kStabs;
  };
  const auto ours_at = [&](std::uint64_t at) {
    index.visit({at, at + 1}, [&](core::LeaseId id, core::LeaseEntry*) {
      ours.sum += id;
      return true;
    });
  };
  const auto theirs_at = [&](std::uint64_t at) { bare.stab(at, [&](std::size_t which) { theirs.sum += which + 1; }); };
  const Pairs pairs = measure_pairs(kPairs, [&] { return measure(ours, ours_at); }, [&] { return measure(theirs, theirs_at); });
  if (ours.sum != theirs.sum) die("the two indexes do not find the same");
  std::printf("%s", row("ns a stab, bare tree", pairs, judge(pairs.ratio().middle, kStabsMost)).c_str());
  to->push_back({"stab / bare interval tree", {pairs.ratio().middle}});
}

int run(const std::string& json) {
  std::vector<Series> series;
  std::printf("the arbiter among a million leases, and among a thousand (or what is named)\n%s", kRowHead);
  measure_leases(&series);
  measure_index(&series);
  if (!json.empty() && !write_file(json, to_json(series, "ratio"))) die("write " + json);
  return verdicts();
}

}  // namespace
}  // namespace mrlease::bench

int main(int argc, char** argv) { return mrlease::bench::json_main(argc, argv, "something is above its limit", mrlease::bench::run); }
