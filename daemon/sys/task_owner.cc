// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/task_owner.h"

#include <charconv>

#include "daemon/sys/apart.h"
#include "daemon/sys/proc_file.h"

namespace mrlease::sys {

namespace {

// What stands behind "\nKEY:\t", to the end of the line. The name comes first and cannot hold a newline (it is escaped).
std::string_view value_of(std::string_view status, std::string_view key) {
  const auto at = status.find(key);
  if (at == std::string_view::npos) return {};
  const auto begin = at + key.size();
  return status.substr(begin, status.find('\n', begin) - begin);
}

// The nth number (from 0) of a line of numbers.
template <typename T>
bool nth_number(std::string_view line, int nth, T* out) {
  const char *at = line.data(), *const end = line.data() + line.size();
  for (;; --nth) {
    while (at != end && (*at == ' ' || *at == '\t')) ++at;
    const auto [next, error] = std::from_chars(at, end, *out);
    if (error != std::errc()) return false;
    if (nth == 0) return true;
    at = next;
  }
}

}  // namespace

bool parse_owner(std::string_view status, TaskOwner* owner) {
  const auto comm = value_of(status, "Name:\t");
  owner->comm = std::string(comm);
  // Uid, Gid: real, effective, saved, file system.
  return !comm.empty() && nth_number(value_of(status, "\nTgid:\t"), 0, &owner->pid) &&
         nth_number(value_of(status, "\nUid:\t"), 0, &owner->real_uid) && nth_number(value_of(status, "\nUid:\t"), 1, &owner->uid) &&
         nth_number(value_of(status, "\nUid:\t"), 2, &owner->saved_uid) && nth_number(value_of(status, "\nGid:\t"), 1, &owner->gid);
}

bool read_owner(int tid, TaskOwner* owner) {
  static thread_local RecentTasks recent("status");
  const ProcText text = recent.read(tid);
  return text && parse_owner(*text, owner);
}

std::optional<TaskOwner> owner_apart(int tid) {
  auto owner = apart(tid, [tid] {
    TaskOwner read;
    return read_owner(tid, &read) ? std::optional(std::move(read)) : std::nullopt;
  });
  return owner ? std::move(*owner) : std::nullopt;
}

}  // namespace mrlease::sys
