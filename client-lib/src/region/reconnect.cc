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
// Of a region whose data cannot be written to the file, to a full disk say, while the others wait for the end of it all.
constexpr std::chrono::seconds kStuck{4};

bool same(const std::weak_ptr<Region>& a, const std::weak_ptr<Region>& b) { return !a.owner_before(b) && !b.owner_before(a); }

}  // namespace

void Context::find_daemon_again() {
  for (auto pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    if (this->pause(pause)) return;
    if (!come_back().ok() || !reclaim_all().ok()) continue;
    tell(MRL_EVENT_RECONNECTED, {});
    connected_ = true;
    // It may have been lost while it did not count yet; then nobody else looks for another.
    if (connection()->alive() || !connected_.exchange(false)) break;
    tell(MRL_EVENT_DISCONNECTED, "lost again at once");
  }
  if (!unclaimed_.empty()) resuming_.post([this] { reclaim_rest(); });
}

// Those that were left behind, until they can be had. In between the lane is free for others.
void Context::reclaim_rest() {
  if (pause(kFirstPause) || !connected_) return;  // find_daemon_again() comes next, and takes them along
  (void)reclaim_each();
  if (!unclaimed_.empty()) resuming_.post([this] { reclaim_rest(); });
}

void Context::tell(mrl_event_type what, const std::string& why) {
  Event event;
  event.data.type = what;
  event.message = why;
  events_.push(std::move(event));
}

bool Context::pause(std::chrono::milliseconds time) {
  std::unique_lock lock(connection_mutex_);
  return closing_changed_.wait_for(lock, time, [this] { return closing_; });
}

Outcome Context::come_back() {
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
  for (auto& [lease, region] : std::exchange(regions_, {})) {
    // One that the daemon before had granted, and was lost before it knew all of it, waits already.
    const auto known = [&, &mine = region](const auto& other) { return same(mine, other); };
    if (std::none_of(unclaimed_.begin(), unclaimed_.end(), known)) unclaimed_.push_back(std::move(region));
  }
  has_leases_ = !unclaimed_.empty();
  return {};
}

// Asks for each lease once. EAGAIN: some are left. Another error: the connection is gone.
Outcome Context::reclaim_each() {
  const auto fresh = connection();
  Outcome left;
  for (auto& waiting : std::exchange(unclaimed_, {})) {
    const auto region = waiting.lock();
    const bool lost = !left.ok() && left.code != EAGAIN;
    const Outcome o = lost ? left : region ? region->reclaim(fresh, version_ >= kReclaims) : Outcome{};
    if (o.ok()) continue;  // or it has ended in the region's fence
    if (!lost) left = o;
    unclaimed_.push_back(std::move(waiting));
  }
  return fresh->alive() ? left : Outcome{ENOTCONN, "mrleased is gone again"};
}

Outcome Context::reclaim_all() {
  const auto until = std::chrono::steady_clock::now() + kStuck;
  for (;;) {
    const Outcome o = reclaim_each();
    if (!o.ok() && o.code != EAGAIN) return o;
    if (o.ok() || std::chrono::steady_clock::now() >= until) break;
    if (pause(kFirstPause)) return o;
  }
  // One whose daemon did not know of a lease is not waited for.
  if (version_ >= kReclaims && has_leases_) {
    (void)connection()->call(protocol::reclaimed(), {}, wire::Frame::kStatus, nullptr);
  }
  return {};
}

}  // namespace mrlease::client
