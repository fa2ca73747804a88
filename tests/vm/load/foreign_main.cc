// SPDX-License-Identifier: Apache-2.0
// mrl_foreign: the other user of the file, and the judge. Commands on stdin, one a line, each answered by one JSON
// line:
//   truncate SIZE | zeros FROM | extended NS | sync | freeze HOLD_MS | copy | thaw | check | check-direct | waits |
//   quit
//   --file F --size BYTES --table FILE [--store-table FILE --spare PAGES] [--socket S] [--plain]
#include <cerrno>
#include <cstdio>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>

#include "tests/vm/load/foreign.h"
#include "tests/vm/load/json.h"

using namespace mrlease::load;

namespace {

int run(Foreign& foreign, const std::string& command, std::uint64_t argument, Json* json) {
  if (command == "truncate") return foreign.truncate(argument, json);
  if (command == "zeros") return foreign.zeros(argument, json);
  if (command == "sync") return foreign.sync(json);
  if (command == "freeze") return foreign.freeze(static_cast<std::uint32_t>(argument), json);
  if (command == "copy") return foreign.copy(json);
  if (command == "thaw") return foreign.thaw(json);
  if (command == "check") return foreign.check(false, json);
  if (command == "check-direct") return foreign.check(true, json);
  if (command == "extended") return foreign.extended(argument), 0;
  if (command == "waits") return foreign.waits(json), 0;
  return command == "quit" ? 0 : EINVAL;
}

}  // namespace

int main(int argc, char** argv) try {
  Foreign foreign(Options(argc, argv));
  Json().add("ready", true).print();
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command;
    std::uint64_t argument = 0;
    words >> command >> argument;
    Json json;
    const int code = run(foreign, command, argument, &json);
    json.add("code", static_cast<std::uint64_t>(code)).print();
    if (command == "quit") break;
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "mrl_foreign: %s\n", error.what());
  Json().add("failed", error.what()).print();
  return 1;
}
