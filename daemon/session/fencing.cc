// SPDX-License-Identifier: Apache-2.0
// The end of a client's device access, and what is saved of its stores.
#include <algorithm>
#include <cstring>

#include "daemon/core/extents.h"
#include "daemon/session/broker.h"
#include "daemon/session/countdown.h"

namespace mrlease::session {

namespace {

constexpr std::uint64_t kRefusalsMax = 4;  // each may take tens of milliseconds

fence::Order order_for(const Session* session, const std::vector<std::shared_ptr<LeaseHold>>& leases, core::Time deadline, bool kill) {
  fence::Order order;
  if (session != nullptr) {
    order.userfaultfd = session->userfaultfd;
    order.pidfd = session->pidfd;
  }
  order.kill_at_once = kill;
  order.deadline = std::chrono::milliseconds(std::max<core::Time>(deadline * 3 / 4, 1));
  for (const auto& lease : leases) {
    for (const LeaseMr& mr : lease->mrs) order.mrs.push_back(mr.mr);
    // What the client has exchanged is known from the recalls: only there can a device fault wait.
    const std::uint64_t base = lease->mrs.empty() ? 0 : lease->mrs.front().mr.address;
    if (base == 0) continue;
    for (const Store& store : lease->stores) {
      const std::uint64_t length = core::page_up(store.extent.end - store.extent.begin);
      order.gated.push_back({base + (store.extent.begin - lease->extent.begin), length});
    }
  }
  return order;
}

// There may be memory regions that the daemon has no handles to destroy by: the client has come back with them and not said a
// word of them yet; or it has asked whether it may deregister one, was told yes, and has not said since that it is done.
bool has_unknown_mrs(const LeaseHold& lease) {
  if (lease.backing == core::Backing::Bounce) return false;  // none of them reaches the file
  return lease.handed_back || (lease.reclaimed && !lease.mrs_told);
}

}  // namespace

void Broker::fence_lease(const std::shared_ptr<LeaseHold>& lease, bool kill, std::function<void(bool)> done) {
  if (lease->destroyed) return done(true);
  if (lease->fencing) return lease->after_fence.push_back([done = std::move(done)] { done(true); });
  fence_session(lease->session, {lease}, kill, [this, lease, done = std::move(done)](fence::Outcome outcome) {
    // Not fenced and not killed: nobody may be told otherwise. The arbiter's own bound goes on from here.
    if (outcome == fence::Outcome::Failed) return;
    if (outcome == fence::Outcome::Destroyed) return done(true);
    drop_descriptors(lease->session, [done] { done(false); });
  });
}

void Broker::fence_session(core::SessionId id, Leases leases, bool kill, std::function<void(fence::Outcome)> done) {
  std::erase_if(leases, [](const auto& lease) { return lease->destroyed; });
  // One that another fence is busy with is waited for.
  auto result = std::make_shared<fence::Outcome>(fence::Outcome::Destroyed);
  const Countdown all([result, done = std::move(done)] { done(*result); });
  for (const auto& lease : leases)
    if (lease->fencing) lease->after_fence.push_back(all.add());
  std::erase_if(leases, [](const auto& lease) { return lease->fencing.load(); });
  for (const auto& lease : leases) {
    lease->fencing = true;
    kill = kill || has_unknown_mrs(*lease);  // also where the client has only lost its connection, and lives
  }
  if (leases.empty() && !kill) return all.start();
  core::Time deadline = leases.empty() ? options_.policy.fence_deadline : core::kNever;
  for (const auto& lease : leases) deadline = std::min(deadline, arbiter_.terms(lease->id).fence_deadline);
  fence::run(order_for(find_session(id), leases, deadline, kill), [this, leases, result, all](fence::Result r) {
    asio::post(loop_, [this, leases, result, all, r = std::move(r)] {
      if (!r.text.empty()) log_(1, "fence: " + r.text);
      *result = r.outcome;
      for (const auto& lease : leases) {
        lease->destroyed = r.outcome != fence::Outcome::Failed;
        if (!lease->destroyed) continue;
        if (auto* kept = record(*lease)) kept->fenced = keep::LeaseRecord::kFenceDone;
        forget_mrs(*lease);
        for (auto& next : std::exchange(lease->after_fence, {})) next();
      }
      all.start();
    });
  });
}

void Broker::drop_descriptors(core::SessionId id, std::function<void()> then) {
  Session* s = find_session(id);
  if (s == nullptr) return then();
  auto dropped = std::make_shared<std::vector<fence::SharedFd>>();
  for (auto& [number, device] : s->devices) dropped->push_back(std::move(device.uverbs));
  s->devices.clear();
  dropped->push_back(std::move(s->userfaultfd));
  s->userfaultfd = {};
  for (const core::LeaseId lease_id : s->leases)
    if (const auto lease = find_lease(lease_id)) {
      for (LeaseMr& mr : lease->mrs) dropped->push_back(std::move(mr.mr.uverbs));
      forget_mrs(*lease);
    }
  in_worker([dropped] { dropped->clear(); }, std::move(then));
}

void Broker::rescue_trimmed(const Leases& leases, std::function<void()> done) {
  const Countdown all(std::move(done));
  for (const auto& lease : leases) {
    // One that runs has the stores in hand, and what waits for the lease's end waits for it. The store of a freeze that nobody
    // knows any more (its hold was over when the predecessor died) is written now, like that of a trim.
    const bool of_freeze = std::any_of(lease->stores.begin(), lease->stores.end(), [](const Store& s) { return !s.trim; });
    const bool frozen = of_freeze && arbiter_.has_frozen_store(lease->id);
    if (!lease->rescuing && (lease->stores.empty() || frozen)) continue;
    rescue_stores(lease, [over = all.add()](int) { over(); });
  }
  all.start();
}

// What RDMA wrote into frozen stores goes to the file. done: the first errno, or 0.
void Broker::rescue_stores(const std::shared_ptr<LeaseHold>& lease, std::function<void(int)> done) {
  if (lease->rescuing) return lease->after_rescue.push_back(std::move(done));
  std::vector<Store> stores;
  stores.swap(lease->stores);
  const auto live = std::stable_partition(stores.begin(), stores.end(), [](const Store& store) { return store.live; });
  forget_stores({live, stores.end()});
  stores.erase(live, stores.end());
  if (stores.empty() || !lease->write) {
    forget_stores(std::move(stores));
    return done(0);
  }
  lease->rescuing = true;
  auto report = std::make_shared<std::string>();
  auto failed = std::make_shared<int>(0);
  // What a truncate has cut off since is nobody's to bring back.
  const std::uint64_t end_now = std::min({lease->extent.end, lease->size_told, size_left(*lease)});
  // A client that lives is told and has its pages still; it and the fence's bound wait for this. Of a dead one nothing else is left.
  const Session* const client = find_session(lease->session);
  const std::uint64_t refusals_max = client != nullptr && !client->gone ? kRefusalsMax : ~0ull;
  in_worker(
      [lease, stores, end_now, report, failed, refusals_max] {
        std::lock_guard lock(lease->file_mutex);
        for (const Store& store : stores) {
          std::uint64_t pages = 0;
          const std::uint64_t end = std::min(store.extent.end, end_now);
          if (end <= store.extent.begin) continue;
          // Possible: when the fence has overrun its time, the truncate that it was for goes on while we write.
          const int code = store::merge_all(store.memfd.get(), store.extent.begin, end - store.extent.begin, lease->fd.get(), &pages,
                                            store::Truncates::Possible, refusals_max);
          *report += std::to_string(pages) + " pages of a frozen store written to the file";
          if (*failed == 0) *failed = code;
          if (code != 0) *report += std::string(", then ") + std::strerror(code);
        }
      },
      [this, lease, report, failed, stores, done = std::move(done)] {
        forget_stores(stores);  // only now: a successor would have to do it
        if (!report->empty()) log_(1, "lease " + std::to_string(lease->id) + ": " + *report);
        lease->rescuing = false;
        done(*failed);
        for (auto& next : std::exchange(lease->after_rescue, {})) next(*failed);
      });
}

}  // namespace mrlease::session
