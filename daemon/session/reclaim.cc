// SPDX-License-Identifier: Apache-2.0
// Clients of a daemon that has ended without handing over: they find this one, and take their leases again. Until they
// have, or the grace period is over, nobody else is granted any, and no file is said to be durable or to stand still.
#include <algorithm>

#include "daemon/session/broker.h"
#include "daemon/session/close_elsewhere.h"

namespace mrlease::session {

void Broker::await_reclaims() {
  if (kept_.holders == nullptr) return;
  awaited_ = reclaimers_ = kept_.holders->left();
  for (const auto& [id, s] : sessions_)
    if (!s->leases.empty()) no_longer_awaited(s->peer.pid);  // taken over: they need not come
  note_holders();
  if (awaited_.empty()) return;
  log_(1, "waiting " + std::to_string(options_.reclaim_grace) + " ms at most for " + std::to_string(awaited_.size()) +
              " clients of the daemon before to reclaim their leases; new ones are granted after that");
  grace_timer_.expires_after(std::chrono::milliseconds(options_.reclaim_grace));
  grace_timer_.async_wait([this](const asio::error_code& error) {
    if (!error) end_grace();
  });
}

bool Broker::no_longer_awaited(pid_t pid) {
  const auto found = awaited_.find(pid);
  if (found == awaited_.end()) return false;
  awaited_.erase(found);
  return true;
}

void Broker::end_grace() {
  if (awaited_.empty() && deferred_.empty() && after_grace_.empty()) return;
  if (!awaited_.empty()) log_(2, std::to_string(awaited_.size()) + " clients of the daemon before have not reclaimed their leases in time");
  awaited_.clear();
  grace_timer_.cancel();
  note_holders();
  for (Deferred& d : std::exchange(deferred_, {})) {
    std::vector<wire::Fd> fds;
    fds.push_back(std::move(d.fd));
    fds.push_back(std::move(d.memory));
    if (const Session* s = find_session(d.session); s != nullptr && !s->gone) on_frame(d.session, std::move(d.frame), fds);
    close_elsewhere(std::move(fds), d.user);
  }
  for (const auto& go_on : std::exchange(after_grace_, {})) go_on();
}

bool Broker::defer(const Session& s, const wire::Frame& f, wire::Fd& fd, wire::Fd& memory) {
  if (awaited_.empty() || (f.register_().reclaim() && reclaimers_.contains(s.peer.pid))) return false;
  const auto waiting = std::count_if(deferred_.begin(), deferred_.end(), [&](const Deferred& d) { return d.user == s.peer.uid; });
  if (accounts_.of(s.peer.uid).leases + static_cast<std::uint64_t>(waiting) >= options_.leases_max)
    reply_status(s.id, f.id(), EDQUOT, "the user has, or waits for, " + std::to_string(options_.leases_max) +
                                           " leases, syncs and freezes, the limit while others reclaim theirs");
  else
    deferred_.push_back({s.id, s.peer.uid, f, std::move(fd), std::move(memory)});
  return true;
}

// Its fence destroys memory regions by their handles, and must not find them on another lease.
bool Broker::still_ending(const Session& s) const {
  return std::any_of(sessions_.begin(), sessions_.end(), [&](const auto& entry) {
    const Session& other = *entry.second;
    return other.gone && !other.leases.empty() && other.peer.pid == s.peer.pid;
  });
}

void Broker::on_reclaimed(Session& s, const wire::Frame& f) {
  reply_status(s.id, f.id(), 0, {});
  if (!no_longer_awaited(s.peer.pid)) return;
  log_(1, s.program + " has reclaimed " + std::to_string(s.leases.size()) + " leases");
  if (awaited_.empty()) end_grace();
}

// After this process, whoever holds a lease now, or was waited for in vain, is to be waited for.
void Broker::note_holders() {
  if (kept_.holders == nullptr || stopping_) return;
  std::vector<pid_t> holders(awaited_.begin(), awaited_.end());
  for (const auto& [id, s] : sessions_)
    if (!s->leases.empty()) holders.push_back(s->peer.pid);
  kept_.holders->note(std::move(holders));
}

}  // namespace mrlease::session
