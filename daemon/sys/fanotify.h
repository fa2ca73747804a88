// SPDX-License-Identifier: Apache-2.0
// fanotify(7): groups, marks, events, answers. Constants that Debian 12's headers lack: proto/kernel_uapi.h.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "daemon/sys/fd.h"
#include "daemon/sys/file_handle.h"

namespace mrlease::sys {

struct FanEvent {
  std::uint64_t mask = 0;
  Fd fd;            // groups of a permission class: the file; keep it open until answered, answers are matched by number
  int tid = 0;      // 0: in a pid namespace that is not ours
  bool has_range = false;
  std::uint64_t offset = 0, count = 0;  // FAN_PRE_ACCESS, rounded to pages by the kernel
  FileId id;        // groups with FAN_REPORT_FID
};

// What a read has put there, up to the first zeros: the result owns the descriptors.
std::vector<FanEvent> events_in(std::span<const char> buffer);

// Thread-safe as far as the kernel is: mark and respond from any thread, read from one.
class FanGroup {
 public:
  FanGroup() = default;
  // flags: FAN_CLASS_*, FAN_REPORT_*; close-on-exec, non-blocking and unlimited are added. 0 or errno.
  int open(unsigned flags);
  // A group that exists: a predecessor's.
  void adopt(Fd fd) { fd_ = std::move(fd); }
  // Inode numbers of the files that are marked; of which file system is not told in a way that stat(2) knows.
  std::set<std::uint64_t> marked_inodes() const;
  void close() { fd_.reset(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  int fd() const { return fd_.get(); }

  // Marks the file (or its file system) behind a descriptor. 0 or errno.
  int mark(unsigned flags, std::uint64_t mask, int file) const;
  int flush_marks(bool file_system) const;
  // Appends what is queued, as much as fits the buffer. 0, EAGAIN when the queue is empty, or another errno.
  int read(std::span<char> buffer, std::vector<FanEvent>* events) const;
  bool readable() const;
  // response: FAN_ALLOW, FAN_DENY or FAN_DENY_ERRNO. 0, or ENOENT: the task was killed while it waited.
  int respond(int event_fd, std::uint32_t response) const;

 private:
  Fd fd_;
};

}  // namespace mrlease::sys
