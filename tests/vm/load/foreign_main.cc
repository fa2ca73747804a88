// SPDX-License-Identifier: Apache-2.0
// mrl_foreign: the other user of the file, and the judge. Commands on stdin, one a line, each answered by one JSON
// line:
//   truncate SIZE | zeros FROM | extended NS | reattached SIZE NS | sync [STABLE_MS] | freeze HOLD_MS | copy | thaw | check | check-direct | waits |
//   reconnected TIMES | quit | (punch | collapse | insert | write | write-direct) FIRST-PAGE PAGES | read | open-truncate | unlink | rename-over | ended
//   --file F --size BYTES [--begin BYTES: of its part of the file] --table FILE [--store-table FILE --spare PAGES] [--socket S] [--plain]
//   [--uring: reads and writes, but not of a copy, by workers of io_uring]
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

int run(Foreign& foreign, const std::string& command, std::uint64_t argument, std::uint64_t count, Json* json) {
  if (command == "punch") return foreign.punch(argument, count, json);
  if (command == "collapse") return foreign.collapse(argument, count, json);
  if (command == "insert") return foreign.insert(argument, count, json);
  if (command == "write") return foreign.overwrite(false, argument, count, json);
  if (command == "write-direct") return foreign.overwrite(true, argument, count, json);
  if (command == "read") return foreign.read_while_written(json);
  if (command == "open-truncate") return foreign.open_truncate(json);
  if (command == "unlink") return foreign.unlink(json);
  if (command == "rename-over") return foreign.rename_over(json);
  if (command == "ended") return foreign.ended(), 0;
  if (command == "truncate") return foreign.truncate(argument, json);
  if (command == "zeros") return foreign.zeros(argument, json);
  if (command == "sync") return foreign.sync(static_cast<std::uint32_t>(argument), json);
  if (command == "freeze") return foreign.freeze(static_cast<std::uint32_t>(argument), json);
  if (command == "copy") return foreign.copy(json);
  if (command == "thaw") return foreign.thaw(json);
  if (command == "check") return foreign.check(false, json);
  if (command == "check-direct") return foreign.check(true, json);
  if (command == "reconnected") return foreign.reconnected(argument);
  if (command == "extended") return foreign.extended(argument), 0;
  if (command == "reattached") return foreign.reattached(argument, count), 0;
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
    std::uint64_t argument = 0, count = 0;
    words >> command >> argument >> count;
    Json json;
    const int code = run(foreign, command, argument, count, &json);
    json.add("code", static_cast<std::uint64_t>(code)).print();
    if (command == "quit") break;
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "mrl_foreign: %s\n", error.what());
  Json().add("failed", error.what()).print();
  return 1;
}
