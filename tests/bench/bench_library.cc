// SPDX-License-Identifier: Apache-2.0
// What the library adds to an application's own path: a cached registration beside UCX's registration cache, and the posting
// guard beside an atomic add; interleaved, in one run. No device is needed: neither touches one.
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "client-lib/src/cache/registration_cache.h"
#include "client-lib/src/region/posting_guard.h"
#include "json_main.h"
#include "samples.h"

extern "C" {  // the header does not say so itself
#include <ucs/memory/rcache.h>
}

namespace mrlease::bench {
namespace {

constexpr int kRounds = 41, kCalls = 200000, kRanges = 256;
constexpr std::size_t kLength = 64 * 1024;

double ns_per_call(const std::function<void()>& all_calls, int calls = kCalls) {
  const auto begin = std::chrono::steady_clock::now();
  all_calls();
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count() / calls;
}

// UCX registers nothing either: only its cache is measured.
class Ucx {
 public:
  Ucx() {
    ops_.mem_reg = [](void*, ucs_rcache_t*, void*, ucs_rcache_region_t*, std::uint16_t) { return UCS_OK; };
    ops_.mem_dereg = [](void*, ucs_rcache_t*, ucs_rcache_region_t*) {};
    ops_.dump_region = [](void*, ucs_rcache_t*, ucs_rcache_region_t*, char*, std::size_t) {};
    ucs_rcache_params_t params{};
    params.region_struct_size = sizeof(ucs_rcache_region_t);
    params.alignment = UCS_RCACHE_MIN_ALIGNMENT;
    params.max_alignment = 4096;
    params.ops = &ops_;
    params.max_regions = ~0ul;
    params.max_size = ~static_cast<std::size_t>(0);
    params.max_unreleased = ~static_cast<std::size_t>(0);
    params.flags = UCS_RCACHE_FLAG_NO_PFN_CHECK;
    if (ucs_rcache_create(&params, "bench", nullptr, &cache_) != UCS_OK) std::abort();
  }
  ~Ucx() { ucs_rcache_destroy(cache_); }
  Ucx(const Ucx&) = delete;
  Ucx& operator=(const Ucx&) = delete;
  ucs_rcache_region_t* get(char* at) {
    ucs_rcache_region_t* region = nullptr;
    if (ucs_rcache_get(cache_, at, kLength, PROT_READ | PROT_WRITE, nullptr, &region) != UCS_OK) std::abort();
    return region;
  }
  void get_and_put(char* at) { ucs_rcache_region_put(cache_, get(at)); }

 private:
  ucs_rcache_ops_t ops_{};
  ucs_rcache_t* cache_ = nullptr;
};

struct Ours {
  client::RegistrationCache cache;
  std::vector<client::CachedRange> ranges{kRanges};
  void get_and_put(char* at) {
    client::CachedRange* const found = cache.find(reinterpret_cast<std::uint64_t>(at), kLength);
    if (found == nullptr || found->put()) std::abort();
  }
};

// Ratios of the medians, with what they must not be above; 0: only told.
struct Result {
  std::string name;
  double ours, theirs, limit;
};

Result compare(const std::string& name, double limit, const std::function<double()>& ours, const std::function<double()>& theirs) {
  std::vector<double> a, b;
  for (int round = -2; round < kRounds; round++) {
    const double mine = ours(), other = theirs();
    if (round < 0) continue;
    a.push_back(mine);
    b.push_back(other);
  }
  return {name, percentile(a, 0.5), percentile(b, 0.5), limit};
}

void measure_cache(char* memory, std::vector<Result>* results) {
  Ucx ucx;
  Ours ours;
  for (int i = 0; i < kRanges; i++) {
    // neighbours would be merged by UCX; a page stays between them
    char* const at = memory + static_cast<std::size_t>(i) * 2 * kLength;
    ours.cache.add(&ours.ranges[static_cast<std::size_t>(i)], reinterpret_cast<std::uint64_t>(at), kLength);
    ucx.get_and_put(at);
  }
  for (const int used : {1, 16, kRanges}) {
    const auto each = [&](auto& cache) {
      return ns_per_call([&] {
        for (int i = 0; i < kCalls; i++) cache.get_and_put(memory + static_cast<std::size_t>(i % used) * 2 * kLength);
      });
    };
    results->push_back(compare("cached hit, " + std::to_string(used) + (used == 1 ? " range" : " ranges") + " / UCX", 0.7,
                               [&] { return each(ours); }, [&] { return each(ucx); }));
  }
}

// Two threads, each with a guard of its own, against one: more operations in the same time.
double of_threads(int threads) {
  std::vector<client::PostingGuard> guards(static_cast<std::size_t>(threads));
  return ns_per_call([&] {
    std::vector<std::thread> running;
    for (auto& guard : guards)
      running.emplace_back([&guard] {
        for (int i = 0; i < kCalls * 10; i++) {
          if (guard.enter() != 0) std::abort();
          guard.leave();
        }
      });
    for (auto& thread : running) thread.join();
  }, kCalls * 10 * threads);
}

void measure_guard(std::vector<Result>* results) {
  client::PostingGuard guard;
  std::atomic<std::uint64_t> word{0};
  results->push_back(compare("enter and leave / relaxed fetch_add", 3.0,
                             [&] { return ns_per_call([&] {
                               for (int i = 0; i < kCalls; i++) {
                                 if (guard.enter() != 0) std::abort();
                                 guard.leave();
                               }
                             }); },
                             [&] { return ns_per_call([&] {
                               for (int i = 0; i < kCalls; i++) word.fetch_add(1, std::memory_order_relaxed);
                             }); }));
  if (std::thread::hardware_concurrency() > 1) {
    results->push_back(compare("enter and leave, 2 threads / 1 thread", 0, [] { return of_threads(2); }, [] { return of_threads(1); }));
  }
}

int run(const std::string& json) {
  const std::size_t bytes = static_cast<std::size_t>(kRanges) * 2 * kLength;
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  std::vector<Result> results;
  measure_cache(static_cast<char*>(memory), &results);
  measure_guard(&results);
  std::printf("%-40s %8s %8s %7s %7s\n", "", "ns", "its ns", "ratio", "limit");
  bool over = false;
  std::vector<Series> series;
  for (const Result& r : results) {
    const double ratio = r.ours / r.theirs;
    over = over || (r.limit > 0 && ratio > r.limit);
    char limit[16] = "";
    if (r.limit > 0) std::snprintf(limit, sizeof limit, "%.2f", r.limit);
    std::printf("%-40s %8.1f %8.1f %7.2f %7s %s\n", r.name.c_str(), r.ours, r.theirs, ratio, limit, r.limit == 0 ? "" : ratio <= r.limit ? "PASS" : "FAIL");
    series.push_back({r.name, {ratio}});
  }
  if (!json.empty() && !write_file(json, to_json(series, "ratio"))) {
    std::perror(json.c_str());
    return 1;
  }
  return over ? 1 : 0;
}

}  // namespace
}  // namespace mrlease::bench

int main(int argc, char** argv) { return mrlease::bench::json_main(argc, argv, "a ratio is above its limit", mrlease::bench::run); }
