// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/proc_maps.h"

#include <unistd.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstring>

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
  // Line by line, up to the one that is looked for: there may be very many, of any length.
  const Fd file = open_proc((std::to_string(process) + "/maps").c_str());
  std::string rest;
  std::array<char, 16384> piece;
  for (ssize_t n = 0; file && (n = ::read(file.get(), piece.data(), piece.size())) > 0;) {
    rest.append(piece.data(), static_cast<std::size_t>(n));
    std::size_t at = 0;
    for (std::size_t end = 0; (end = rest.find('\n', at)) != std::string::npos; at = end + 1) {
      auto m = parse_maps_line(rest.substr(at, end - at));
      if (!m || m->end <= address) continue;
      return m->begin > address ? std::nullopt : m;
    }
    rest.erase(0, at);
  }
  return {};
}

}  // namespace mrlease::sys
