// SPDX-License-Identifier: Apache-2.0
// Which file a process has mapped at an address: /proc/<pid>/maps, proc_pid_maps(5).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace mrlease::sys {

// One line, as far as it tells of the mapping.
struct MapsLine {
  std::uint64_t begin = 0, end = 0, offset = 0, inode = 0;
  std::string permissions, device;  // "rw-s"; the device as the kernel prints it

  bool readable() const { return permissions[0] == 'r'; }
  bool writable() const { return permissions[1] == 'w'; }
  bool shared() const { return permissions[3] == 's'; }
  bool operator==(const MapsLine&) const = default;
};

// Pure. Nothing: it is none.
std::optional<MapsLine> parse_maps_line(const std::string& line);
// The mapping that holds the address. Nothing: none does, or the process is gone or hidden. Reads up to there, which waits for
// whoever holds that process's memory map.
std::optional<MapsLine> mapping_at(pid_t process, std::uint64_t address);

}  // namespace mrlease::sys
