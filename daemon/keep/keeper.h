// SPDX-License-Identifier: Apache-2.0
// Descriptors that outlive the process: each is kept by the service manager under a name, and comes back to the successor.
// Without a manager nothing is kept and nothing else changes.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/keep/manager.h"

namespace mrlease::keep {

// FileDescriptorStoreMax= of the unit: what is beyond it the manager drops without telling us.
inline constexpr std::size_t kStoreMax = 65536;
// All names together, each with a separator: at the next start they are one string of the environment, LISTEN_FDNAMES, and
// execve(2) refuses one of 128 KiB (MAX_ARG_STRLEN, include/uapi/linux/binfmts.h). The rest is for the socket unit's name.
inline constexpr std::size_t kNamesMax = 128 * 1024 - 1024;

// Thread-safe.
class Keeper {
 public:
  explicit Keeper(std::vector<NamedFd> inherited);

  bool active() const { return active_; }
  // What a predecessor kept under this name, and what is still kept for the next; empty: nothing.
  sys::Fd take(const std::string& name);
  // 0; ENOSPC: the manager's store is full, or could not be handed over; or errno. Names are never used twice while in use.
  int put(const std::string& name, int fd);
  void drop(const std::string& name);
  // Moves what has this number of ours to another. False: there is no other.
  bool vacate(int number);
  // What nobody has taken is of no use any more. Returns how many.
  std::size_t drop_unclaimed();
  std::vector<std::string> unclaimed() const;
  // Everything that a predecessor kept, taken or not; what others have taken is theirs to close.
  void drop_all();

 private:
  void uncount(const std::string& name);

  const bool active_;
  mutable std::mutex mutex_;
  std::map<std::string, sys::Fd> inherited_;  // under mutex_
  std::vector<std::string> all_;              // under mutex_: the names at the start
  std::size_t count_ = 0, names_bytes_ = 0;   // under mutex_
};

// Memory that the successor finds as it was left: a memfd, sealed against a change of its size, kept under its name. What
// was stored before the process was killed is there; nothing needs to be written out.
class Memory {
 public:
  // A predecessor's, when it has that size; else fresh, all zeros. Throws std::system_error.
  Memory(Keeper& keeper, const std::string& name, std::size_t bytes);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool inherited() const { return inherited_; }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
  bool inherited_ = false;
};

}  // namespace mrlease::keep
