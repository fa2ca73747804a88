// SPDX-License-Identifier: Apache-2.0
// The precontent guard: FAN_PRE_ACCESS (kernel 6.14) holds everything that reads, writes or cuts a file through a
// descriptor that was opened after a mark covered it, and every truncate.
// Not thread-safe: the guard's lock is held around every call.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "daemon/guard/event_desk.h"

namespace mrlease::guard {

class Precontent {
 public:
  explicit Precontent(EventDesk* desk) : desk_(desk) {}

  // 0; EINVAL, EOPNOTSUPP: this kernel has no such guard; else errno of what failed.
  // With a predecessor's groups, where they are given.
  int start(sys::Fd arming = {}, sys::Fd events = {});
  const sys::FanGroup& arming() const { return arming_; }
  const sys::FanGroup& events() const { return events_; }
  // Every later open on the file system of this descriptor or directory can be held. 0 or errno.
  int arm(int fd, std::uint64_t device);
  int arm_root(const std::string& path);

  // 0, or errno: EOPNOTSUPP: not on this file system. Fills in kind and text.
  int watch(WatchedFile* file);
  void unwatch(const WatchedFile& file);
  int fd() const { return events_.fd(); }
  // Takes what is queued. 0 or errno: the group is broken.
  int on_readable();
  void disarm();

 private:
  EventDesk* desk_;
  // Two groups: an ignore mark arms later opens of a whole file system without ever queueing an event, but it would
  // silence the inode marks of its own group.
  sys::FanGroup arming_, events_;
  std::set<std::uint64_t> armed_;          // st_dev
  std::set<std::uint64_t> armed_as_root_;  // from the start
};

}  // namespace mrlease::guard
