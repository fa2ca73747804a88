// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/proc_file.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "daemon/sys/own_proc.h"

namespace mrlease::sys {
namespace {

Fd open_file(int tid, const char* name) {
  char path[64];
  if (tid) std::snprintf(path, sizeof path, "%d/%s", tid, name);
  else std::snprintf(path, sizeof path, "self/%s", name);
  return open_proc(path);
}

}  // namespace

Fd open_of_task(int tid, const char* name, int number) {
  char path[80];
  const int length = std::snprintf(path, sizeof path, "%d/task/%d/%s", tid, tid, name);
  if (number != kNoNumber) std::snprintf(path + length, sizeof path - static_cast<std::size_t>(length), "/%d", number);
  return open_proc(path);
}

ProcText::ProcText(const Fd& file) {
  if (file) length_ = ::pread(file.get(), buffer_, sizeof buffer_, 0);
}

ProcText::ProcText(int tid, const char* name) : ProcText(open_file(tid, name)) {}

ProcText RecentTasks::read(int tid, int number) {
  auto at = std::find_if(files_.begin(), files_.end(), [&](const File& f) { return f.fd && f.tid == tid && f.number == number; });
  if (at != files_.end())
    if (const ProcText text(at->fd); text) return text;
  if (at == files_.end()) at = files_.begin() + next_++ % files_.size();
  *at = {tid, number, open_of_task(tid, name_, number)};
  return ProcText(at->fd);
}

}  // namespace mrlease::sys
