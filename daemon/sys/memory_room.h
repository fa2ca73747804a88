// SPDX-License-Identifier: Apache-2.0
// How much memory this process may still have, by the limits of its control group.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
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
// it is wanted. And it may not answer at all: who keeps one of the groups' directories locked (own_proc.h) keeps one thread. One other waits for that
// one a while; then they go by what was known before, less what was taken since. Thread-safe.
class MemoryRoom {
 public:
  using Ask = std::function<std::optional<std::uint64_t>()>;
  // kept: bytes that nobody is to take.
  explicit MemoryRoom(std::uint64_t kept, Ask ask = [] { return memory_room(); }, std::chrono::milliseconds stands = std::chrono::milliseconds(250),
                      std::chrono::milliseconds patience = std::chrono::milliseconds(100))
      : kept_(kept), ask_(std::move(ask)), stands_(stands), patience_(patience) {}
  // As memory_room(), less what is kept, for somebody who takes `own` bytes, of `under_way` that are being taken altogether, if there are so many: his
  // own count from then on. As long as nothing was ever told: 0.
  std::optional<std::uint64_t> before(std::uint64_t under_way, std::uint64_t own);

 private:
  static constexpr int kLittle = 8;  // one part in so many
  bool stands(std::uint64_t under_way) const;

  std::uint64_t left() const { return *room_ - std::min(*room_, kept_ + since_); }

  const std::uint64_t kept_;
  const Ask ask_;
  const std::chrono::milliseconds stands_, patience_;
  std::mutex mutex_;
  std::condition_variable answered_;
  bool asking_ = false, late_ = false;            // under mutex_, as what follows; late: the answer, and nobody waits for it any more
  std::optional<std::uint64_t> room_ = 0;         // as it was told last
  std::uint64_t since_ = 0;                       // bytes that were taken since
  std::chrono::steady_clock::time_point told_{};  // never, to begin with
};

}  // namespace mrlease::sys
