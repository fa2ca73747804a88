// SPDX-License-Identifier: Apache-2.0
// How much memory this process may still have, by the limits of its control group.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace mrlease::sys {

// Bytes that can still be charged to this process's control group (version 2) until memory.max of it, or of one above it, is
// reached and somebody is killed; what the kernel gives back first, page cache and slabs, counts as free
// (Documentation/admin-guide/cgroup-v2.rst, Memory Interface Files). Nothing: there is no limit, or no version 2.
// own: the process's /proc/PID/cgroup; mount: of the control groups.
std::optional<std::uint64_t> memory_room(const std::filesystem::path& own = "/proc/self/cgroup",
                                         const std::filesystem::path& mount = "/sys/fs/cgroup");

}  // namespace mrlease::sys
