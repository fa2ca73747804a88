// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/close_elsewhere.h"

#include <algorithm>
#include <memory>

#include "daemon/session/worker_pool.h"

namespace mrlease::session {

void close_elsewhere(std::vector<wire::Fd> fds) {
  static WorkerPool pool(16);
  if (std::none_of(fds.begin(), fds.end(), [](const wire::Fd& fd) { return static_cast<bool>(fd); })) return;
  pool.run([owned = std::make_shared<std::vector<wire::Fd>>(std::move(fds))] { owned->clear(); });
}

}  // namespace mrlease::session
