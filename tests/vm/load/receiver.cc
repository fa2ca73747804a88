// SPDX-License-Identifier: Apache-2.0
// mrl_receiver: registers a file and lets one remote peer write into it. Commands come on stdin, one a line; each is
// answered by one JSON line on stdout: info, quiet (the sender drains and holds), resume, sync, extend, reattach SIZE, orphans SIZE (does
// what lies beyond SIZE bytes hold the sender's writes?), quit.
//   --address A --port P --file F --backing auto|direct|odp|odp-cooperative|bounce|plain|none [--quirk] [--preserve]
//   [--socket S] [--budget MS] [--adopt] [--mlockall] [--fork-init] [--fork-child] [--store-pages N --store-table FILE]
//   [--table FILE] [--begin BYTES --length BYTES: of the file, all of it if not given]
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>
#include <system_error>

#include "tests/vm/load/json.h"
#include "tests/vm/load/memory.h"
#include "tests/vm/load/orphans.h"
#include "tests/vm/load/stores.h"

using namespace mrlease::load;

namespace {

constexpr int kPauseMs = 30000;

// The tail is the file's again, as it is, or (reattach) with what the memory holds: nobody may store to that meanwhile.
int take_back(bool reattach, Memory& memory, Peer& peer, Orphans& orphans, std::uint64_t size, std::string* error) {
  const bool pause = reattach || memory.pause_for_extend();
  if (pause && !peer.pause(kExtend, kPauseMs)) {
    *error = "the sender did not drain";
    return ETIMEDOUT;
  }
  const std::uint64_t begin = now_ns();
  const int code = reattach ? memory.reattach(error) : memory.extend(error);
  if (reattach && code == 0) orphans.reattached(size, begin, now_ns());
  if (!reattach && size) orphans.discarded(size, begin, now_ns());
  peer.resume(pause ? kExtend : kNobody, memory.keys());
  return code;
}

// Answers a line; false: quit.
bool serve(const std::string& line, Memory& memory, Peer& peer, Stores& stores, Orphans& orphans) {
  std::istringstream words(line);
  std::string command, error;
  std::uint64_t size = 0;
  words >> command >> size;
  int code = 0;
  Json json;
  if (command == "quiet") {
    stores.pause();
    code = peer.pause(kDriver, kPauseMs) ? 0 : ETIMEDOUT;
  } else if (command == "resume") {
    peer.resume(kDriver, memory.keys());
    stores.resume();
  } else if (command == "sync") {
    code = memory.sync(&error);
  } else if (command == "extend" || command == "reattach") {
    code = take_back(command == "reattach", memory, peer, orphans, size, &error);
  } else if (command == "orphans") {
    const Verdict verdict = orphans.check(memory.at(), size);
    json.add("lost", verdict.lost).add("risen", verdict.risen).add("first", verdict.first);
  } else if (command == "info") {
    memory.describe(json);
    const Keys keys = memory.keys();
    json.add("events", memory.events()).add("address", keys.address).add("rkey", std::uint64_t{keys.rkey});
  } else if (command != "quit") {
    code = EINVAL;
  }
  json.add("code", static_cast<std::uint64_t>(code)).add("error", error).add("now_ns", now_ns()).print();
  return command != "quit";
}

// A child that shares everything the parent had open, and lives on.
void fork_child() {
  const pid_t child = fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) {
    alarm(120);  // so that it never outlives a test by much
    for (;;) pause();
  }
  Json().add("child", static_cast<std::uint64_t>(child)).print();
}

}  // namespace

int main(int argc, char** argv) try {
  const Options options(argc, argv);
  if (options.flag("mlockall") && mlockall(MCL_CURRENT | MCL_FUTURE))
    throw std::system_error(errno, std::generic_category(), "mlockall");
  if (options.flag("fork-init")) {
    errno = ibv_fork_init();
    if (errno) throw std::system_error(errno, std::generic_category(), "ibv_fork_init");
  }
  LinkOptions where;
  where.address = options.text("address", where.address);
  where.port = options.text("port", where.port);
  Link link(where);
  link.listen();
  const std::string backing = options.text("backing", "auto");
  const bool plain = backing == "plain" || backing == "none";
  const std::unique_ptr<Memory> memory = plain ? plain_memory(options, link.pd()) : leased_memory(options, link.pd());
  Json ready;
  memory->describe(ready);
  ready.add("listening", true).print();
  link.accept();
  if (options.flag("fork-child")) fork_child();
  {
    Peer peer(link);
    memory->talk_to(&peer);
    Stores stores(memory->at(), memory->keys().length, options);
    peer.resume(kNobody, memory->keys());
    Orphans orphans(options.text("table"));
    std::string line;
    while (std::getline(std::cin, line) && serve(line, *memory, peer, stores, orphans)) {
    }
    stores.pause();
    peer.pause(kDriver, kPauseMs);
    memory->talk_to(nullptr);
    peer.bye();
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "mrl_receiver: %s\n", error.what());
  Json().add("failed", error.what()).print();
  return 1;
}
