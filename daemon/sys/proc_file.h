// SPDX-License-Identifier: Apache-2.0
// Small files of /proc, which the kernel makes when they are read, and whose wanted part fits in one read.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <string_view>

#include "daemon/sys/fd.h"

namespace mrlease::sys {

// /proc/<tid>/task/<tid>/<name>: of this thread alone; some files tell of the whole process otherwise (fs/proc/array.c,
// do_task_stat()). An open file stays with its task, and says ESRCH when another one has the number (fs/proc/base.c,
// get_proc_task()). number: where the name is a folder's with a file for each, as fdinfo. False: the task is gone or hidden.
constexpr int kNoNumber = -1;
Fd open_of_task(int tid, const char* name, int number = kNoNumber);

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
// operation, and opening and closing takes as long as reading. Not thread-safe: one for each thread.
class RecentTasks {
 public:
  explicit RecentTasks(const char* name) : name_(name) {}
  // What open_of_task() opens; what is read is what has that number now.
  ProcText read(int tid, int number = kNoNumber);

 private:
  struct File {
    int tid = 0, number = kNoNumber;
    Fd fd;
  };
  const char* name_;
  std::array<File, 8> files_;
  std::size_t next_ = 0;
};

}  // namespace mrlease::sys
