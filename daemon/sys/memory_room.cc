// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/memory_room.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "daemon/sys/own_proc.h"

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
std::optional<fs::path> path_of(const std::string& own) {
  std::istringstream in(own);
  for (std::string line; std::getline(in, line);)
    if (line.rfind("0::/", 0) == 0) return fs::path(line.substr(4));
  return {};
}

}  // namespace

std::optional<std::uint64_t> memory_room(const std::string& own, const fs::path& mount) {
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

std::optional<std::uint64_t> memory_room() { return memory_room(read_proc("self/cgroup")); }

bool MemoryRoom::stands(std::uint64_t under_way) const {
  const bool lately = told_ != std::chrono::steady_clock::time_point{} && std::chrono::steady_clock::now() - told_ < stands_;
  return lately && (!room_ || under_way <= left() / kLittle);
}

std::optional<std::uint64_t> MemoryRoom::before(std::uint64_t under_way, std::uint64_t own) {
  std::unique_lock lock(mutex_);
  if (asking_ && !late_) late_ = !answered_.wait_for(lock, patience_, [&] { return !asking_; });
  if (!asking_ && !stands(under_way)) {
    asking_ = true;
    lock.unlock();
    const auto asked = [&] {
      lock.lock();
      asking_ = late_ = false;
      answered_.notify_all();
    };
    try {
      const auto room = ask_();
      asked();
      room_ = room;
      since_ = 0;
      told_ = std::chrono::steady_clock::now();
    } catch (...) {
      asked();
      throw;
    }
  }
  if (!room_) return {};
  const std::uint64_t there_is = left();
  if (under_way <= there_is) since_ += own;
  return there_is;
}

}  // namespace mrlease::sys
