// SPDX-License-Identifier: Apache-2.0
// mrlease_sim [--seeds N] [--first S] [--steps N] | --seed S [--moves "3 17 40"] | --self-test
// Seeded simulations of the daemon and its clients under an independent auditor: see daemon/DESIGN.md, Simulation.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>

#include "tests/sim/shrink.h"
#include "tests/sim/world.h"

namespace mrlease::sim {
namespace {

struct Wanted {
  u64 seeds = 1000, first = 1, steps = 500, seed = 0;
  bool one = false, self_test = false, has_moves = false;
  std::string plant;
  Moves moves;
};

// A fault stays the same one while it is made shorter: its promise is what it is known by.
std::string kind_of(const std::string& complaint) {
  return complaint.compare(0, 1, "P") == 0 ? complaint.substr(0, 2) : complaint.substr(0, complaint.find_first_of("0123456789"));
}

Moves shorten(u64 seed, const std::string& plant, const Moves& moves, const std::string& complaint) {
  const std::string kind = kind_of(complaint);
  return shrink(moves, [&](const Moves& some) {
    World world(seed, plant, false);
    world.run(some);
    return !world.good() && kind_of(world.auditor.complaints().front()) == kind;
  });
}

std::string list(const Moves& moves) {
  std::ostringstream out;
  for (std::size_t i = 0; i < moves.size(); ++i) out << (i ? " " : "") << moves[i];
  return out.str();
}

void report(u64 seed, const std::string& plant, const Moves& moves, const std::vector<std::string>& complaints) {
  std::printf("seed %llu FAILS: %s\n", static_cast<unsigned long long>(seed), complaints.front().c_str());
  const Moves few = shorten(seed, plant, moves, complaints.front());
  std::printf("  %zu of %zu moves are enough. Replay: mrlease_sim --seed %llu --moves \"%s\"%s\n", few.size(), moves.size(),
              static_cast<unsigned long long>(seed), list(few).c_str(), plant.empty() ? "" : (" --plant \"" + plant + "\"").c_str());
  for (const unsigned n : few) std::printf("    %u: %s\n", n, name(move_of(seed, n).act));
}

int many(const Wanted& w) {
  Coverage coverage;
  u64 steps = 0, failed = 0, clients = 0, crowds = 0, judged = 0, excused = 0;
  const auto began = std::chrono::steady_clock::now();
  for (u64 seed = w.first; seed < w.first + w.seeds; ++seed) {
    World world(seed, w.plant, false);
    const Moves moves = world.run_for(w.steps);
    steps += world.auditor.steps();
    crowds += world.shape.crowd;
    judged += world.auditor.judged();
    excused += world.auditor.excused();
    clients = std::max<u64>(clients, world.clients.size());
    coverage.add(world.auditor.coverage());
    if (world.good()) continue;
    ++failed;
    report(seed, w.plant, moves, world.auditor.complaints());
    if (failed == 10) break;
  }
  const double minutes = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() / 60;
  std::printf("rows of the break table, and situations, and how often they were reached:\n");
  const std::size_t missed = coverage.print();
  std::printf("not the arbiter's, so not here: unlink, rename over, umount, remount read-only\n");
  std::printf("%llu seeds had thousands of clients; writes looked for in the files: %llu, excused: %llu\n", static_cast<unsigned long long>(crowds),
              static_cast<unsigned long long>(judged), static_cast<unsigned long long>(excused));
  std::printf("%llu seeds, %llu steps, %.0f steps a minute, at most %llu clients; %llu seeds failed, %zu rows were not reached\n",
              static_cast<unsigned long long>(w.seeds), static_cast<unsigned long long>(steps), static_cast<double>(steps) / minutes,
              static_cast<unsigned long long>(clients), static_cast<unsigned long long>(failed), missed);
  return failed != 0 || missed != 0 ? 1 : 0;
}

int replay(const Wanted& w) {
  World world(w.seed, w.plant, true);
  Moves moves = w.moves;
  if (w.has_moves) world.run(moves);
  else moves = world.run_for(w.steps);
  for (const std::string& c : world.auditor.complaints()) std::printf("FAILS: %s\n", c.c_str());
  if (!world.good() && !w.has_moves) report(w.seed, w.plant, moves, world.auditor.complaints());
  return world.good() ? 0 : 1;
}

bool sound(u64 seed, u64 steps) {
  World world(seed, "", false);
  world.run_for(steps);
  return world.good();
}

// Every planted bug is found, and a few moves are left that show it.
int self_test(const Wanted& w) {
  constexpr std::size_t kFew = 12;
  constexpr int kTries = 3;  // a schedule may need more, by chance; not all do
  int failed = 0;
  for (const std::string& plant : Plant::names()) {
    bool found = false;
    int tries = 0;
    for (u64 seed = w.first; seed < w.first + w.seeds && !found; ++seed) {
      World world(seed, plant, false);
      if (world.shape.crowd) continue;
      const Moves moves = world.run_for(w.steps);
      if (world.good() || !sound(seed, w.steps)) continue;
      const std::string complaint = world.auditor.complaints().front();
      const Moves few = shorten(seed, plant, moves, complaint);
      found = few.size() <= kFew || ++tries == kTries;
      if (!found) continue;
      failed += few.size() > kFew;
      std::printf("%-40s seed %llu, %zu of %zu moves%s: %s\n", plant.c_str(), static_cast<unsigned long long>(seed), few.size(),
                  moves.size(), few.size() > kFew ? " (TOO MANY)" : "", complaint.c_str());
    }
    if (!found) std::printf("%-40s NOT FOUND\n", plant.c_str());
    failed += !found;
  }
  return failed == 0 ? 0 : 1;
}

bool read(int argc, char** argv, Wanted* w) {
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--self-test") {
      w->self_test = true;
      continue;
    }
    if (i + 1 >= argc) return false;
    const std::string value = argv[++i];
    if (option == "--seeds") w->seeds = std::strtoull(value.c_str(), nullptr, 10);
    else if (option == "--first") w->first = std::strtoull(value.c_str(), nullptr, 10);
    else if (option == "--steps") w->steps = std::strtoull(value.c_str(), nullptr, 10);
    else if (option == "--plant") w->plant = value;
    else if (option == "--seed") w->one = true, w->seed = std::strtoull(value.c_str(), nullptr, 10);
    else if (option == "--moves") {
      std::istringstream in(value);
      for (unsigned n; in >> n;) w->moves.push_back(n);
      w->has_moves = true;
    } else return false;
  }
  return true;
}

}  // namespace
}  // namespace mrlease::sim

int main(int argc, char** argv) {
  using namespace mrlease::sim;
  Wanted w;
  if (!read(argc, argv, &w)) {
    std::fprintf(stderr, "mrlease_sim [--seeds N] [--first S] [--steps N] [--plant NAME] | --seed S [--moves \"...\"] | --self-test\n");
    return 2;
  }
  return w.self_test ? self_test(w) : w.one ? replay(w) : many(w);
}
