// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/last_syncs.h"

namespace mrlease::session {

void LastSyncs::ask(const core::FileKey& key, File file, std::chrono::milliseconds interval) {
  Entry& entry = files_.try_emplace(key, loop_).first->second;
  entry.next = std::move(file);
  entry.interval = hurries_ ? std::chrono::milliseconds() : interval;
  go_on(key);
}

void LastSyncs::hurry() {
  hurries_ = true;
  for (auto at = files_.begin(); at != files_.end();) {
    const core::FileKey key = (at++)->first;  // it may go
    files_.at(key).interval = {};
    go_on(key);
  }
}

void LastSyncs::go_on(const core::FileKey& key) {
  const auto at = files_.find(key);
  if (at == files_.end() || at->second.running) return;
  Entry& entry = at->second;
  const auto now = std::chrono::steady_clock::now(), due = entry.began + entry.interval;
  if (now < due) {  // it is remembered until then, also when nothing is asked for
    entry.timer.expires_at(due);
    entry.timer.async_wait([this, key](const std::error_code& error) {
      if (!error) go_on(key);
    });
    return;
  }
  if (!entry.next) {
    files_.erase(at);
    return;
  }
  entry.timer.cancel();
  entry.running = true;
  entry.began = now;
  sync_(key, *std::exchange(entry.next, {}), [this, key] {
    files_.at(key).running = false;
    go_on(key);
  });
}

}  // namespace mrlease::session
