// SPDX-License-Identifier: Apache-2.0
// How much memory this process may still have, by the limits of its control group.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

namespace mrlease::sys {

// Bytes that can still be charged to this process's control group (version 2) until memory.max of it, or of one above it, is
// reached and somebody is killed; what the kernel gives back first, page cache and slabs, counts as free
// (Documentation/admin-guide/cgroup-v2.rst, Memory Interface Files). Nothing: there is no limit, or no version 2.
// own: what the process's /proc/PID/cgroup says; mount: of the control groups.
std::optional<std::uint64_t> memory_room(const std::string& own, const std::filesystem::path& mount = "/sys/fs/cgroup");
std::optional<std::uint64_t> memory_room();  // of this process

// The same for many who ask. The kernel adds up what all its processors count for it, so what it said lately stands for a moment, while little of
// it was asked for. And it may not answer at all: who keeps one of the groups' directories locked (own_proc.h) keeps one thread, and the others go
// by what was known before. Thread-safe.
class MemoryRoom {
 public:
  using Ask = std::function<std::optional<std::uint64_t>()>;
  explicit MemoryRoom(Ask ask = [] { return memory_room(); }) : ask_(std::move(ask)) {}
  // As memory_room(), for somebody who is about to take `wanted` bytes, which count from now on.
  std::optional<std::uint64_t> before(std::uint64_t wanted);

 private:
  static constexpr std::chrono::milliseconds kStands{250};
  static constexpr int kLittle = 8;  // one part in so many

  const Ask ask_;
  std::mutex mutex_;
  bool asking_ = false;                            // under mutex_, as what follows
  std::optional<std::uint64_t> room_;              // as it was told last
  std::uint64_t since_ = 0;                        // bytes that were wanted since
  std::chrono::steady_clock::time_point told_{};   // never, to begin with
};

}  // namespace mrlease::sys
