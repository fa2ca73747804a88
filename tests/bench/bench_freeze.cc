// SPDX-License-Identifier: Apache-2.0
// The transparent exchange of a region of 1 GiB: a freeze beside that of 4 MiB, a thaw of as many pages, what a steady stream of writes
// is stalled for at a thaw beside a thaw that lets nobody write meanwhile, and a merge beside pwrite(2) of the same pages; in one run. A
// thread that stores stands in for the device; pages are merged by what the daemon does.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "client-lib/src/uffd/exchange.h"
#include "daemon/store/file_work.h"
#include "json_main.h"
#include "processes.h"
#include "ratios.h"
#include "samples.h"

namespace mrlease::bench {
namespace {

using client::kPage;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kSmall = 4 << 20, kLarge = 1 << 30, kMerged = 256 << 20;
constexpr int kPairs = 21, kThaws = 15;
constexpr std::uint64_t kWritten = 512;    // pages of a freeze, of both sizes
constexpr std::uint64_t kStreamed = 16384;  // pages that are written before the thaw under the stream: 64 MiB
constexpr auto kStreamPause = std::chrono::microseconds(40);  // between two pages: about 100 MB/s
constexpr double kSizesMost = 2, kStallMost = 0.2, kMergeMost = 1.25;  // time: 0.8 of the bandwidth

client::Deadline soon() { return Clock::now() + std::chrono::seconds(60); }

void must(const client::Outcome& o) {
  if (o.ok()) return;
  std::fprintf(stderr, "bench_freeze: %s\n", o.text.c_str());
  std::exit(2);
}

class Region {
 public:
  explicit Region(std::uint64_t length) {
    const char* given = std::getenv("MRLEASE_TEST_DIR");
    std::string path = std::string(given != nullptr ? given : "/var/tmp") + "/mrlease-bench-XXXXXX";
    file_ = wire::Fd(::mkostemp(path.data(), O_CLOEXEC));
    if (!file_) die(path);
    ::unlink(path.c_str());
    const std::vector<char> chunk(kSmall, 'a');
    for (std::uint64_t at = 0; at < length; at += kSmall)
      if (::pwrite(file_.get(), chunk.data(), kSmall, static_cast<off_t>(at)) != static_cast<ssize_t>(kSmall)) die("write the file");
    layout_.length = length;
    layout_.file = file_.get();
    layout_.protection = PROT_READ | PROT_WRITE;
    must(client::map_file(layout_, 0, layout_.pages(), layout_.protection, false, &layout_.base));
    begin();
  }
  ~Region() {
    exchange_.reset();
    ::munmap(layout_.base, layout_.length);
  }

  // With stats() of its own.
  void begin() {
    exchange_.reset();
    client::Userfaultfd made;
    must(client::Userfaultfd::open(-1, &made));
    resolver_ = std::make_unique<client::Resolver>(std::move(made));
    exchange_ = std::make_unique<client::Exchange>(
        *resolver_, pagemap_, layout_, [this](const client::Store& s, const auto& ranges) { return merge(s, ranges); }, 200);
    must(exchange_->start());
  }
  void write(std::uint64_t page, char what) { std::fill_n(layout_.base + page * kPage, kPage, what); }
  // The same pages each time: at its start, as a stream does, or all over it.
  void write_some(char what, bool all_over) {
    const std::uint64_t step = all_over ? layout_.pages() / kWritten : 1;
    for (std::uint64_t i = 0; i < kWritten; i++) write(i * step, what);
  }
  double freeze() {
    client::Store store{++last_, wire::Fd(store::create_store("bench", layout_.length)), 0, layout_.length};
    return microseconds([&] { must(exchange_->freeze(std::move(store), 0, layout_.length)); });
  }
  double thaw() {
    return microseconds([&] { must(exchange_->thaw(last_, soon())); });
  }
  client::ExchangeStats stats() const { return exchange_->stats(); }
  std::uint64_t pages() const { return layout_.pages(); }
  int file() const { return file_.get(); }

 private:
  client::Outcome merge(const client::Store& s, const std::vector<client::protocol::FileRange>& ranges) {
    std::vector<store::MergeRange> all;
    for (const auto& r : ranges) all.push_back({r.offset, r.length});
    const int code = store::merge_ranges(s.memfd.get(), s.begin, file_.get(), all, [] { return false; });
    return code == 0 ? client::Outcome{} : client::from_errno("merge", code);
  }

  wire::Fd file_;
  client::Layout layout_;
  client::Pagemap pagemap_;
  std::unique_ptr<client::Resolver> resolver_;
  std::unique_ptr<client::Exchange> exchange_;
  std::uint64_t last_ = 0;
};

void measure_sizes(std::vector<Series>* to) {
  Region small(kSmall), large(kLarge);
  // Of a region of which as many pages are mapped; what is written before the freeze is on the file.
  for (const bool all_over : {false, true}) {
    const auto frozen = [&](Region& region) {
      region.write_some('b', all_over);
      const double us = region.freeze();
      region.thaw();
      return us;
    };
    const auto thawed = [&](Region& region) {
      region.freeze();
      region.write_some('c', all_over);
      return region.thaw();
    };
    const Pairs freezes = measure_pairs(kPairs, [&] { return frozen(large); }, [&] { return frozen(small); });
    const Pairs thaws = measure_pairs(kPairs, [&] { return thawed(large); }, [&] { return thawed(small); });
    // Pages that lie all over 1 GiB have 512 page tables instead of two: what the kernel takes for those is not ours to judge.
    const auto verdict = [&](const Pairs& pairs) { return all_over ? "" : judge(pairs.ratio().middle, kSizesMost); };
    const std::string where = all_over ? ", all over" : "", of = all_over ? "us, all over: " : "us ";
    std::printf("%s", row(of + "freeze", freezes, verdict(freezes)).c_str());
    std::printf("%s", row(of + "thaw", thaws, verdict(thaws)).c_str());
    to->push_back({"freeze of 1 GiB / 4 MiB" + where, {freezes.ratio().middle}});
    to->push_back({"thaw of 1 GiB / 4 MiB" + where, {thaws.ratio().middle}});
  }
}

// What the stream waits for at most, beside the time in which as many pages come back and nobody writes.
void measure_stall(std::vector<Series>* to) {
  std::vector<double> stalls, whole;
  Region streamed(kLarge), quiet(kLarge);
  for (int i = 0; i < kThaws; i++) {
    streamed.begin();
    quiet.freeze();
    for (std::uint64_t page = 0; page < kStreamed; page++) quiet.write(page, static_cast<char>('b' + i));
    whole.push_back(quiet.thaw());

    streamed.freeze();
    for (std::uint64_t page = 0; page < kStreamed; page++) streamed.write(page, static_cast<char>('b' + i));
    std::atomic<bool> stop = false;
    std::thread device([&] {
      auto next = Clock::now();
      for (std::uint64_t page = 0; !stop; page = (page + 1) % kStreamed) {
        streamed.write(page, 'z');
        next = std::max(next + kStreamPause, Clock::now() - kStreamPause);
        while (Clock::now() < next && !stop) continue;
      }
    });
    streamed.thaw();
    stop = true;
    device.join();
    stalls.push_back(static_cast<double>(streamed.stats().stall_us_max));
  }
  const Pairs pairs{stalls, whole};
  std::printf("%s", row("us stalled, whole thaw", pairs, judge(pairs.ratio().middle, kStallMost)).c_str());
  to->push_back({"longest stall under a stream / a thaw without rounds", {pairs.ratio().middle}});
}

// The daemon's merge of many ranges, and a pwrite(2) of each of the same ranges out of the same memory.
void measure_merge(std::vector<Series>* to) {
  Region region(kMerged);
  const wire::Fd memfd(store::create_store("bench", kMerged));
  std::vector<char> pages(64 * kPage, 'm');
  std::vector<store::MergeRange> ranges;
  std::mt19937 random(1);
  for (std::uint64_t page = 0; page + 64 < region.pages();) {
    const std::uint64_t run = 1 + random() % 64;
    ranges.push_back({page * kPage, run * kPage});
    page += run + 1 + random() % 64;
  }
  for (const auto& r : ranges)
    if (::pwrite(memfd.get(), pages.data(), r.length, static_cast<off_t>(r.begin)) < 0) die("write into the store");
  // The same pages: a buffer that stays in the processor's cache would not be read from memory.
  void* const mapped = ::mmap(nullptr, kMerged, PROT_READ, MAP_SHARED | MAP_POPULATE, memfd.get(), 0);
  if (mapped == MAP_FAILED) die("map the store");
  const char* const same = static_cast<const char*>(mapped);
  const Pairs pairs = measure_pairs(
      kPairs,
      [&] {
        return microseconds([&] {
          if ((errno = store::merge_ranges(memfd.get(), 0, region.file(), ranges, [] { return false; })) != 0) die("merge");
        });
      },
      [&] {
        return microseconds([&] {
          for (const auto& r : ranges)
            if (::pwrite(region.file(), same + r.begin, r.length, static_cast<off_t>(r.begin)) < 0) die("pwrite");
        });
      });
  std::printf("%s", row("us a merge, pwrite", pairs, judge(pairs.ratio().middle, kMergeMost)).c_str());
  to->push_back({"merge / pwrite of the same pages", {pairs.ratio().middle}});
}

int run(const std::string& json) {
  std::vector<Series> series;
  std::printf("a region of 1 GiB, and what is named\n%s", kRowHead);
  measure_sizes(&series);
  measure_stall(&series);
  measure_merge(&series);
  if (!json.empty() && !write_file(json, to_json(series, "ratio"))) die("write " + json);
  return verdicts();
}

}  // namespace
}  // namespace mrlease::bench

int main(int argc, char** argv) { return mrlease::bench::json_main(argc, argv, "something is above its limit", mrlease::bench::run); }
