// SPDX-License-Identifier: Apache-2.0
// Small files of /proc, which the kernel makes when they are read, and whose wanted part fits in one read.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <string_view>

#include "daemon/sys/fd.h"

namespace mrlease::sys {

// The text of one, or false: the task is gone or hidden.
class ProcText {
 public:
  explicit ProcText(const Fd& file);
  // /proc/<tid>/<name>; tid 0: this process.
  ProcText(int tid, const char* name);

  explicit operator bool() const { return length_ >= 0; }
  std::string_view operator*() const { return {buffer_, static_cast<std::size_t>(length_)}; }

 private:
  char buffer_[4096];
  ssize_t length_ = -1;
};

// One file of the tasks that were looked at last, kept open: they are looked at again, when they leave and at their next
// operation, and opening and closing takes as long as reading. An open file stays with its task, and says ESRCH when
// another one has the number (fs/proc/base.c, get_proc_task()). Not thread-safe: one for each thread.
class RecentTasks {
 public:
  static constexpr int kNone = -1;
  // Of /proc/<tid>/task/<tid>: without the second half some files tell of the whole process (fs/proc/array.c,
  // do_task_stat()).
  explicit RecentTasks(const char* name) : name_(name) {}
  // number: where the name is a folder's with a file for each, as fdinfo; what is read is what has that number now.
  ProcText read(int tid, int number = kNone);

 private:
  struct File {
    int tid = 0, number = kNone;
    Fd fd;
  };
  const char* name_;
  std::array<File, 8> files_;
  std::size_t next_ = 0;
};

}  // namespace mrlease::sys
