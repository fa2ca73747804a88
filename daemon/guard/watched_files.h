// SPDX-License-Identifier: Apache-2.0
// The files that are watched, by device and inode and by the kernel's own name.
// Not thread-safe: the guard's lock is held around every call.
#pragma once

#include <map>
#include <set>

#include "daemon/guard/guard.h"
#include "daemon/guard/leaving.h"
#include "daemon/sys/fd.h"
#include "daemon/sys/file_handle.h"

namespace mrlease::guard {

// For files of the lease guard.
struct LeaseState {
  enum class Phase { Shared, Held, Breaking };
  Phase phase = Phase::Shared;
  bool retry = true;       // F_SETLEASE may succeed one day
  bool perm_mark = false;  // FAN_OPEN_PERM is set
  unsigned tries = 0;
  int taker = -1;          // the process that is told of its break
  Clock::time_point next_try{};
  Clock::time_point forced{};     // when the kernel ends the break
  unsigned unanswered = 0;        // operations of this break
  bool read_reported = false, truncate_reported = false;
};

struct WatchedFile {
  core::FileKey key;
  sys::Fd fd;  // a duplicate: its number cannot be reused under us
  sys::FileId id;
  Kind kind = Kind::None;
  std::string text;
  int watches = 0;
  core::Needs needs;
  std::set<int> passed;  // tasks that came with an event on it: their FAN_MODIFY is no news
  LeaseState lease;
};

class WatchedFiles {
 public:
  WatchedFile* find(const core::FileKey& key) {
    auto at = files_.find(key);
    return at == files_.end() ? nullptr : &at->second;
  }
  WatchedFile* find(const sys::FileId& id) {
    auto at = by_id_.find(id);
    return at == by_id_.end() ? nullptr : find(at->second);
  }
  WatchedFile& add(const core::FileKey& key, sys::Fd fd, const sys::FileId& id) {
    WatchedFile& file = files_[key];
    file.key = key;
    file.fd = std::move(fd);
    file.id = id;
    if (!id.bytes.empty()) by_id_[id] = key;
    return file;
  }
  void remove(WatchedFile* file) {
    by_id_.erase(file->id);
    core::FileKey key = file->key;
    files_.erase(key);
  }
  bool empty() const { return files_.empty(); }
  std::map<core::FileKey, WatchedFile>& all() { return files_; }

 private:
  std::map<core::FileKey, WatchedFile> files_;
  std::map<sys::FileId, core::FileKey> by_id_;
};

}  // namespace mrlease::guard
