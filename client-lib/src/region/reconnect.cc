// SPDX-License-Identifier: Apache-2.0
// The daemon is gone: look for another one, and take the leases again there.
#include <algorithm>
#include <chrono>

#include "client-lib/src/protocol/frames.h"
#include "client-lib/src/region/context.h"
#include "client-lib/src/region/region.h"

namespace mrlease::client {
namespace {

// A daemon that is restarted is back within a second. One that is gone for good costs a connect(2) every two.
constexpr std::chrono::milliseconds kFirstPause{50}, kLongestPause{2000};
constexpr std::uint32_t kReclaims = 3;  // the wire's version that knows Register.reclaim

}  // namespace

void Context::find_daemon_again() {
  for (auto pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    if (this->pause(pause)) return;
    std::uint32_t version = 0;
    if (!come_back(&version).ok() || !reclaim_all(version).ok()) continue;
    connected_ = true;
    // It may have been lost while it did not count yet; then nobody else looks for another.
    if (connection()->alive() || !connected_.exchange(false)) break;
  }
  Event event;
  event.data.type = MRL_EVENT_RECONNECTED;
  events_.push(std::move(event));
}

bool Context::pause(std::chrono::milliseconds time) {
  std::unique_lock lock(connection_mutex_);
  return closing_changed_.wait_for(lock, time, [this] { return closing_; });
}

Outcome Context::come_back(std::uint32_t* version) {
  wire::Fd socket;
  Outcome o = Connection::connect(socket_path_, &socket);
  if (!o.ok()) return o;
  auto fresh = std::make_shared<Connection>(std::move(socket), sinks());
  // Whoever registers waits: the new daemon knows none of the devices, and wants a Hello first.
  std::lock_guard devices_lock(devices_mutex_);
  devices_.clear();
  {
    std::lock_guard lock(connection_mutex_);
    if (closing_) return {ENOTCONN, "closed meanwhile"};
    connection_ = fresh;  // from here on ~Context ends what waits for it
  }
  wire::v1::Welcome welcome;
  wire::Fd unused;
  o = greet(*fresh, &welcome, &unused);
  if (o.ok() && resolver_) {
    (void)fresh->call(protocol::add_userfaultfd(), {resolver_->userfaultfd().fd()}, wire::Frame::kStatus, nullptr);
  }
  if (!o.ok()) return o;
  std::lock_guard lock(mutex_);
  for (auto& [lease, region] : std::exchange(regions_, {})) unclaimed_.push_back(std::move(region));
  *version = welcome.version();
  return {};
}

Outcome Context::reclaim_all(std::uint32_t version) {
  const auto fresh = connection();
  while (!unclaimed_.empty()) {
    const auto region = unclaimed_.back().lock();
    const Outcome o = region ? region->reclaim(fresh, version >= kReclaims) : Outcome{};
    if (o.ok()) {
      unclaimed_.pop_back();
    } else if (o.code != EAGAIN || pause(kFirstPause)) {
      return o;  // the connection is gone; every other error has ended in the region's fence
    } else {  // the others first
      std::rotate(unclaimed_.begin(), unclaimed_.end() - 1, unclaimed_.end());
    }
  }
  if (version >= kReclaims) (void)fresh->call(protocol::reclaimed(), {}, wire::Frame::kStatus, nullptr);
  return {};
}

}  // namespace mrlease::client
