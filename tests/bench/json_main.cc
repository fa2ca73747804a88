// SPDX-License-Identifier: Apache-2.0
#include "json_main.h"

#include <getopt.h>

#include <cstdio>

namespace mrlease::bench {

int json_main(int argc, char** argv, const char* failed, int (*run)(const std::string& json)) {
  static const option kLong[] = {{"json", 1, nullptr, 'j'}, {nullptr, 0, nullptr, 0}};
  std::string json;
  for (int c; (c = ::getopt_long(argc, argv, "", kLong, nullptr)) != -1;) {
    if (c != 'j') {
      std::fprintf(stderr, "usage: %s [--json FILE]\nExit status 1: %s.\n", argv[0], failed);
      return 2;
    }
    json = optarg;
  }
  return run(json);
}

}  // namespace mrlease::bench
