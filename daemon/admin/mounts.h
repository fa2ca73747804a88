// SPDX-License-Identifier: Apache-2.0
// The mounts of the daemon's namespace, proc_pid_mountinfo(5). Reading them touches no file system.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mrlease::admin {

struct Mount {
  int id = -1;
  std::string point, type, source;
};

// Pure. Escapes (\040) are undone; lines that are not understood are left out.
std::vector<Mount> parse_mounts(std::string_view mountinfo);
std::vector<Mount> read_mounts();
const Mount* find_mount(const std::vector<Mount>& mounts, int id);
// Is `path` the directory or below it?
bool is_under(std::string_view path, std::string_view directory);

}  // namespace mrlease::admin
