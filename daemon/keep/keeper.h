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

// Thread-safe.
class Keeper {
 public:
  explicit Keeper(std::vector<NamedFd> inherited);

  bool active() const { return active_; }
  // What a predecessor kept under this name, and what is still kept for the next; empty: nothing.
  sys::Fd take(const std::string& name);
  // 0; ENOSPC: the manager's store is full; or errno. Names are never used twice while in use.
  int put(const std::string& name, int fd);
  void drop(const std::string& name);
  // What nobody has taken is of no use any more. Returns how many.
  std::size_t drop_unclaimed();
  std::vector<std::string> unclaimed() const;

 private:
  const bool active_;
  mutable std::mutex mutex_;
  std::map<std::string, sys::Fd> inherited_;  // under mutex_
  std::size_t count_ = 0;                     // under mutex_
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
  sys::Fd fd_;
  void* data_ = nullptr;
  std::size_t size_ = 0;
  bool inherited_ = false;
};

}  // namespace mrlease::keep
