// SPDX-License-Identifier: Apache-2.0
// mrl_crowd: many of somebody else's at once. For each line of standard input so many threads read a page each of the file, which it has
// open already; when all have returned, one JSON line says how: {"failed": N, "code": of one that failed, "ends_ns": [of each]}.
//   --file F --threads N --pages P: the first P
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "tests/vm/load/json.h"
#include "tests/vm/load/layout.h"
#include "tests/vm/load/options.h"

using namespace mrlease::load;

namespace {

void all_read(int fd, std::size_t many, std::uint64_t pages) {
  std::vector<std::uint64_t> ends(many);
  std::atomic<std::uint64_t> failed{0}, code{0};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < many; i++) {
    threads.emplace_back([&, i] {
      char byte;
      if (::pread(fd, &byte, 1, static_cast<off_t>(i % pages * kPage)) != 1) {
        code = static_cast<std::uint64_t>(errno);
        failed++;
      }
      ends[i] = now_ns();
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::string list;
  for (const std::uint64_t end : ends) list += (list.empty() ? "[" : ", ") + std::to_string(end);
  Json().add("failed", failed.load()).add("code", code.load()).raw("ends_ns", list + "]").print();
}

}  // namespace

int main(int argc, char** argv) try {
  const Options options(argc, argv);
  const int fd = ::open(options.text("file").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), options.text("file"));
  Json().add("ready", true).print();
  for (std::string line; std::getline(std::cin, line);) all_read(fd, options.number("threads"), options.number("pages"));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "mrl_crowd: %s\n", error.what());
  return 1;
}
