// SPDX-License-Identifier: Apache-2.0
// mrl_sender: the remote peer. Knows nothing of mrlease: connects, writes where the control messages say, drains when
// they say so, and prints what it saw as one JSON line. Exit 0 also when operations failed: the line says so.
//   --address A --port P --table FILE [--unaligned] [--no-atomics] [--floor PAGES] [--spare PAGES] [--seed N]
#include <cstdio>
#include <exception>

#include "tests/vm/load/options.h"
#include "tests/vm/load/stream.h"

using namespace mrlease::load;

int main(int argc, char** argv) try {
  const Options options(argc, argv);
  LinkOptions where;
  where.address = options.text("address", where.address);
  where.port = options.text("port", where.port);
  Link link(where);
  link.connect();
  StreamOptions how;
  how.unaligned = options.flag("unaligned");
  how.atomics = !options.flag("no-atomics");
  how.floor = options.number("floor");
  how.spare = options.number("spare");
  how.seed = static_cast<unsigned>(options.number("seed", 1));
  how.table = options.text("table", "table");
  Stream stream(link, how);
  stream.run();
  stream.print();
  link.disconnect();
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "mrl_sender: %s\n", error.what());
  return 1;
}
