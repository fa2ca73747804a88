// SPDX-License-Identifier: Apache-2.0
// merge_pages and a bounce flush against plain pwrite of the same bytes, interleaved in one run.
//   bench_store DIR [JSON-FILE]
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#include "daemon/store/file_work.h"
#include "samples.h"

namespace mrlease::bench {
namespace {

constexpr std::uint64_t kBytes = 128 << 20;
constexpr int kRounds = 15;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  std::exit(2);
}

void write_plain(int file, const std::vector<char>& data) {
  constexpr std::size_t kStep = 256 * 1024;
  for (std::size_t at = 0; at < data.size(); at += kStep) {
    if (::pwrite(file, data.data() + at, kStep, static_cast<off_t>(at)) != static_cast<ssize_t>(kStep)) die("pwrite");
  }
}

// Of this thread: buffered writes are processor time only, and the machine may be shared.
double cpu_seconds() {
  timespec t;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

template <class F>
double gigabytes_per_second(int file, F body) {
  ::fdatasync(file);
  const double begin = cpu_seconds();
  body();
  return kBytes / 1e9 / (cpu_seconds() - begin);
}

std::vector<Series> measure(const std::string& dir, store::Truncates truncates) {
  const std::string path = dir + "/mrlease-bench-store";
  const fence::SharedFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file) die(path.c_str());
  ::unlink(path.c_str());
  std::vector<char> data(kBytes, 'p');
  write_plain(file.get(), data);
  const fence::SharedFd source(store::create_store("bench", kBytes));
  write_plain(source.get(), data);
  store::Bounce bounce(file, 0, kBytes, truncates);
  Series plain{"pwrite 256K", {}}, merge{"merge_pages", {}}, dirty{"flush, all changed", {}}, clean{"flush, none changed", {}};
  for (int round = 0; round < kRounds; round++) {
    plain.values.push_back(gigabytes_per_second(file.get(), [&] { write_plain(file.get(), data); }));
    merge.values.push_back(gigabytes_per_second(file.get(), [&] {
      if ((errno = store::merge_pages(source.get(), 0, file.get(), 0, kBytes, truncates)) != 0) die("merge_pages");
    }));
    std::memset(data.data(), 'a' + round, data.size());
    write_plain(bounce.memfd(), data);
    dirty.values.push_back(gigabytes_per_second(file.get(), [&] {
      if (bounce.flush().pages_written != kBytes / store::kPage) die("flush");
    }));
    clean.values.push_back(gigabytes_per_second(file.get(), [&] { bounce.flush(); }));
  }
  return {plain, merge, dirty, clean};
}

void print(const char* title, const std::vector<Series>& all) {
  const double base = percentile(all[0].values, 0.5);
  std::printf("%-28s %10s %10s\n", title, "GB/s p50", "x pwrite");
  for (const Series& s : all) {
    std::printf("%-28s %10.2f %10.2f\n", s.name.c_str(), percentile(s.values, 0.5), percentile(s.values, 0.5) / base);
  }
}

int run(const std::string& dir, const char* json) {
  std::vector<Series> held = measure(dir, store::Truncates::Held);
  print("128 MiB, truncates held", held);
  std::vector<Series> possible = measure(dir, store::Truncates::Possible);
  print("128 MiB, truncates possible", possible);
  for (Series& s : possible) held.push_back({s.name + " (truncates possible)", std::move(s.values)});
  if (json != nullptr && !write_file(json, to_json(held, "GB/s"))) die(json);
  return 0;
}

}  // namespace
}  // namespace mrlease::bench

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: %s DIR [JSON-FILE]\n", argv[0]);
    return 2;
  }
  return mrlease::bench::run(argv[1], argc == 3 ? argv[2] : nullptr);
}
