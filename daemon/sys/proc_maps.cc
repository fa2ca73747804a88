// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/proc_maps.h"

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "daemon/sys/own_proc.h"

namespace mrlease::sys {

std::optional<MapsLine> parse_maps_line(const std::string& line) {
  MapsLine m;
  char permissions[5], device[24];
  if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %23s %" SCNu64, &m.begin, &m.end, permissions, &m.offset, device,
                  &m.inode) != 6 || std::strlen(permissions) != 4)
    return {};
  m.permissions = permissions;
  m.device = device;
  return m;
}

std::optional<MapsLine> mapping_at(pid_t process, std::uint64_t address) {
  std::istringstream in(read_proc(std::to_string(process) + "/maps"));
  for (std::string line; std::getline(in, line);) {
    auto m = parse_maps_line(line);
    if (!m || m->end <= address) continue;
    if (m->begin > address) break;
    return m;
  }
  return {};
}

}  // namespace mrlease::sys
