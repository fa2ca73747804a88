// SPDX-License-Identifier: Apache-2.0
// Which file lies under an address of this process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "client-lib/src/util/outcome.h"
#include "proto/fd_passing.h"

namespace mrlease::client {

// One line of proc_pid_maps(5).
struct MapsLine {
  std::uint64_t begin = 0, end = 0, offset = 0, inode = 0;
  bool readable = false, writable = false, shared = false, deleted = false;
  std::string device, path;  // device as the kernel prints it: of the super block, which stat(2) of btrfs does not tell
};
// False: it is none.
bool parse_maps_line(const std::string& line, MapsLine* out);

// The range lies in these lines, ascending: one shared mapping of one file, without holes.
//   EFAULT   nothing is mapped in a part of it, or it cannot be read
//   ENOTSUP  a part is not a shared mapping of a file
//   EINVAL   parts of several files, or of one file in another order
//   EACCES   write, and it is not mapped for writing
//   ENOENT   the file was unlinked
Outcome check_mapping(const std::vector<MapsLine>& maps, std::uint64_t address, std::uint64_t length, bool write, MapsLine* whole);

struct FileMapping {
  wire::Fd file;              // opened again, for what the mapping allows
  std::uint64_t offset = 0;   // of the file, under the address
  bool writable = false;
};
// Opens the file under a mapping whose path does not lead there any more.
using OpenMapping = std::function<Outcome(const MapsLine& mapping, wire::Fd* file)>;
// address is page-aligned. The file is opened by its path, else by `otherwise`; what comes is held against the mapping. The errors
// of check_mapping(); ESTALE: another file has the name; errno of the open; what `otherwise` says is told beside it.
Outcome find_file_mapping(const void* address, std::size_t length, bool write, FileMapping* out, const OpenMapping& otherwise = {});

}  // namespace mrlease::client
