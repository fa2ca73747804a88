// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/sight.h"

#include "daemon/guard/classify.h"
#include "daemon/guard/plain_tasks.h"

namespace mrlease::guard {
namespace {

bool is_plain(int tid) {
  static thread_local PlainTasks tasks;
  const auto call = tasks.call_of(tid);
  return call && reads_or_writes(*call);
}

std::optional<sys::FdInfo> info_of(int tid, int fd) { return fd < 0 ? std::nullopt : sys::read_fdinfo(tid, fd); }

}  // namespace

Sight observe(const Look& look) {
  Sight sight;
  switch (look.depth) {
    case Depth::Plain: sight.plain = is_plain(look.tid); break;
    case Depth::Call: sight.view = look_at_call(look.tid); break;
    case Depth::Rest:
      sight.view = look.view;
      complete(&sight.view);
      if (!look.fds || !trusted({sight.view.stat, sight.view.call})) break;
      const CallFds fds = call_fds(*sight.view.call);
      sight.from = info_of(look.tid, fds.from);
      sight.to = info_of(look.tid, fds.to);
      break;
  }
  return sight;
}

Sight see_nothing(const Look& look) {
  Sight sight;
  sight.view = hidden_task(look.tid);
  return sight;
}

}  // namespace mrlease::guard
