// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/close_elsewhere.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>

#include "daemon/session/worker_pool.h"

namespace mrlease::session {

namespace {

// Of one user: whose closes hang keeps nobody else's waiting. Never destroyed: threads may hang in it for good.
struct Closers {
  WorkerPool pool{4};
  std::shared_ptr<std::atomic<std::size_t>> waiting = std::make_shared<std::atomic<std::size_t>>(0);
};

Closers& closers_of(uid_t user) {
  static auto& all = *new std::map<uid_t, Closers>;
  return all[user];
}

}  // namespace

void close_elsewhere(std::vector<wire::Fd> fds, uid_t user) {
  const auto is_open = [](const wire::Fd& fd) { return static_cast<bool>(fd); };
  const auto count = static_cast<std::size_t>(std::count_if(fds.begin(), fds.end(), is_open));
  if (count == 0) return;
  Closers& closers = closers_of(user);
  *closers.waiting += count;
  const auto owned = std::make_shared<std::vector<wire::Fd>>(std::move(fds));
  closers.pool.run([owned, count, waiting = closers.waiting] {
    owned->clear();
    *waiting -= count;
  });
}

std::size_t unclosed(uid_t user) { return *closers_of(user).waiting; }

}  // namespace mrlease::session
