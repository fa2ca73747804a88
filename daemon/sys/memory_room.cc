// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/memory_room.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace mrlease::sys {
namespace {

namespace fs = std::filesystem;

std::optional<std::uint64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  std::uint64_t value = 0;
  if (in >> value) return value;
  return {};  // not there, or "max"
}

std::uint64_t given_back_first(const fs::path& group) {
  std::ifstream in(group / "memory.stat");
  std::uint64_t bytes = 0, value = 0;
  // Pages of a memfd are in neither of the two file lists.
  for (std::string name; in >> name >> value;)
    if (name == "inactive_file" || name == "active_file" || name == "slab_reclaimable") bytes += value;
  return bytes;
}

std::optional<std::uint64_t> room_in(const fs::path& group) {
  const auto most = number_in(group / "memory.max"), now = number_in(group / "memory.current");
  if (!most || !now) return {};
  const std::uint64_t kept = *now - std::min(*now, given_back_first(group));
  return *most - std::min(*most, kept);
}

// The line of version 2, "0::/PATH", without its slash.
std::optional<fs::path> path_of(const fs::path& own) {
  std::ifstream in(own);
  for (std::string line; std::getline(in, line);)
    if (line.rfind("0::/", 0) == 0) return fs::path(line.substr(4));
  return {};
}

}  // namespace

std::optional<std::uint64_t> memory_room(const fs::path& own, const fs::path& mount) {
  const auto path = path_of(own);
  if (!path) return {};
  std::optional<std::uint64_t> least = room_in(mount);
  fs::path group = mount;
  for (const fs::path& part : *path) {
    group /= part;
    const auto room = room_in(group);
    if (room && (!least || *room < *least)) least = room;
  }
  return least;
}

}  // namespace mrlease::sys
