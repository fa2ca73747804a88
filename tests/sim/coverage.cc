// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/coverage.h"

#include <array>
#include <cinttypes>
#include <cstdio>

namespace mrlease::sim {
namespace {

using core::Action;
using core::Backing;
using core::BreakKind;
using core::Work;

constexpr std::array kKinds = {"truncate", "destructive", "write", "read", "sync", "freeze", "revoke"};
constexpr std::array kBackings = {"direct", "odp transparent", "odp cooperative", "bounce"};
constexpr std::array kActions = {"none", "quiesce", "reregister", "trim", "settle", "freeze", "thaw", "dirty", "release"};
constexpr std::array kWorks = {"none", "flush", "hold flush", "resume flush", "flush and settle", "merge", "fsync", "write back"};
constexpr const char* kNothing = "nothing";

std::string row(Coverage::Cause cause, Backing backing, const std::string& what) {
  const bool collapse = cause.kind == BreakKind::Destructive && cause.shortens;
  const std::string name = collapse ? "collapse" : kKinds[static_cast<std::size_t>(cause.kind)];
  return name + " x " + kBackings[static_cast<std::size_t>(backing)] + ": " + what;
}

struct Line {
  Coverage::Cause cause;
  std::array<std::vector<const char*>, 4> of;  // direct, transparent, cooperative, bounce
};

// Design, section 4.
const std::array kTable = {
    Line{{BreakKind::Truncate}, {{{"quiesce", "reregister"}, {"trim", "settle"}, {"trim", "settle"}, {"hold flush", "resume flush"}}}},
    Line{{BreakKind::Destructive}, {{{"quiesce", "reregister"}, {kNothing}, {kNothing}, {"flush", "merge"}}}},
    Line{{BreakKind::Destructive, true}, {{{"quiesce", "reregister"}, {"trim", "settle"}, {"trim", "settle"}, {"flush", "merge"}}}},
    Line{{BreakKind::Write}, {{{kNothing}, {kNothing}, {kNothing}, {"flush", "merge"}}}},
    Line{{BreakKind::Read}, {{{kNothing}, {kNothing}, {kNothing}, {"flush"}}}},
    Line{{BreakKind::Sync}, {{{"dirty", "fsync", "write back"}, {"fsync", "write back"}, {"fsync", "write back"}, {"fsync", "write back"}}}},
    Line{{BreakKind::Freeze}, {{{"freeze", "thaw"}, {"freeze", "thaw"}, {"freeze", "thaw"}, {"flush and settle", "resume flush"}}}},
    Line{{BreakKind::Revoke}, {{{"release"}, {"release"}, {"release"}, {"release", "flush"}}}},
};

constexpr std::array kSituations = {
    "growth: extended on request", "drain of a file system", "a fence", "a kill", "a fence that overran its time",
    "a denial", "a refusal of the API", "a refusal by a user's limit", "a session that went", "a client that answers for another",
    "an operation that outran its bound", "an operation that failed after it was allowed", "a freeze that held", "a thaw on request",
    "a hold that passed", "a restart", "a connection lost by a client that lives", "a daemon that was gone for good",
    "a lease reclaimed", "a reclaim that was lost", "a freeze taken over", "a second half taken over", "an operation of a predecessor's inside",
    "a sync that nobody asked for", "a thousand leases at once"};

}  // namespace

Coverage::Coverage() {
  for (const Line& line : kTable)
    for (std::size_t b = 0; b < 4; ++b)
      for (const char* what : line.of[b]) rows_[row(line.cause, static_cast<Backing>(b), what)] = 0;
  for (const char* what : kSituations) situations_[what] = 0;
}

bool Coverage::recalled(Cause cause, Backing backing, Action action) {
  const auto it = rows_.find(row(cause, backing, kActions[static_cast<std::size_t>(action)]));
  return it != rows_.end() && ++it->second > 0;
}

bool Coverage::worked(Cause cause, Backing backing, Work work) {
  const auto it = rows_.find(row(cause, backing, kWorks[static_cast<std::size_t>(work)]));
  return it != rows_.end() && ++it->second > 0;
}

void Coverage::nothing_asked(Cause cause, Backing backing) {
  const auto it = rows_.find(row(cause, backing, kNothing));
  if (it != rows_.end()) ++it->second;
}

void Coverage::add(const Coverage& other) {
  for (const auto& [what, n] : other.rows_) rows_[what] += n;
  for (const auto& [what, n] : other.situations_) situations_[what] += n;
}

std::size_t Coverage::print() const {
  std::size_t missed = 0;
  for (const auto* list : {&rows_, &situations_})
    for (const auto& [what, n] : *list) {
      std::printf("  %10" PRIu64 "  %s%s\n", n, what.c_str(), n == 0 ? "   NOT REACHED" : "");
      missed += n == 0;
    }
  return missed;
}

}  // namespace mrlease::sim
