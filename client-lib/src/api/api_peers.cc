// SPDX-License-Identifier: Apache-2.0
// mrl_peers_* and mrl_peer_*: regions and structures of C, turned into what the two sides work with.
#include <algorithm>
#include <map>

#include "client-lib/src/api/handles.h"
#include "client-lib/src/peers/owner_side.h"
#include "client-lib/src/peers/remote_side.h"
#include "mrlease/peers.h"

using namespace mrlease::client;
using namespace mrlease::client::peers;

static_assert(MRL_PEER_QUEUE_DEPTH == verbs::MessageQueue::kDepth);
static_assert(kMessageBytes == verbs::MessageQueue::kBytesMax);

// The lock keeps what is offered in step with the events: a region's keys are read and passed on under it.
struct mrl_peers {
  std::mutex mutex;
  std::map<const mrl_region*, std::uint64_t> ids;
  OwnerSide side;
};

struct mrl_peer {
  std::unique_ptr<RemoteSide> side;
};

namespace {

Outcome id_of(mrl_peers* peers, const mrl_region* region, std::uint64_t* id) {
  if (peers == nullptr) return missing("peers");
  if (region == nullptr) return missing("region");
  const auto found = peers->ids.find(region);
  if (found == peers->ids.end()) return {ENOENT, "the region is not offered: mrl_peers_offer() first"};
  *id = found->second;
  return {};
}

// The first memory region of each protection domain.
std::map<const void*, std::uint32_t> rkeys_of(const mrl_region* region) {
  std::map<const void*, std::uint32_t> keys;
  for (const auto& [pd, rkey] : region->impl->rkeys()) keys.emplace(pd, rkey);
  return keys;
}

// As of now. EAGAIN: it is recalled, and the keys are about to change; EKEYREVOKED.
Outcome reach_of(mrl_region* region, Reach* out) {
  mrl_info info{};
  info.struct_size = sizeof info;
  Region& impl = *region->impl;
  const int entered = impl.guard().enter();
  impl.info(&info);
  *out = {{reinterpret_cast<std::uint64_t>(impl.address()), mrl_length(region), info.size, impl.rkey(), info.generation},
          rkeys_of(region)};
  if (entered == 0) impl.guard().leave();
  if (entered == EKEYREVOKED) return {EKEYREVOKED, "the region is fenced"};
  return {entered, entered == 0 ? "" : "the region is recalled"};
}

Outcome offer(mrl_peers* peers, mrl_region* region, std::uint64_t id) {
  if (peers == nullptr) return missing("peers");
  if (region == nullptr) return missing("region");
  std::lock_guard lock(peers->mutex);
  if (peers->ids.contains(region)) return {EEXIST, "the region is offered already"};
  Reach reach;
  Outcome o = reach_of(region, &reach);
  if (o.code == EKEYREVOKED) return o;
  o = peers->side.offer(id, reach, o.code == EAGAIN ? kRecalled : 0u);
  if (o.ok()) peers->ids[region] = id;
  return o;
}

Outcome hold(mrl_peers* peers, mrl_region* region, std::uint32_t timeout_ms, bool once) {
  std::uint64_t id = 0;
  if (peers == nullptr) return missing("peers");
  {
    std::lock_guard lock(peers->mutex);
    Outcome o = id_of(peers, region, &id);
    if (!o.ok()) return o;
    if (once && peers->side.held(id, kHeldByOwner)) return {EALREADY, "the region is held; mrl_peers_release() first"};
  }
  peers->side.hold_and_wait(id, kHeldByOwner, std::chrono::milliseconds(timeout_ms));
  return {};
}

Outcome withdraw(mrl_peers* peers, mrl_region* region, std::uint32_t timeout_ms) {
  Outcome o = hold(peers, region, timeout_ms, false);
  if (!o.ok()) return o;
  std::lock_guard lock(peers->mutex);
  std::uint64_t id = 0;
  o = id_of(peers, region, &id);
  if (!o.ok()) return o;
  peers->side.forget(id);
  peers->ids.erase(region);
  return {};
}

Outcome release(mrl_peers* peers, mrl_region* region) {
  if (peers == nullptr) return missing("peers");
  std::lock_guard lock(peers->mutex);
  std::uint64_t id = 0;
  Outcome o = id_of(peers, region, &id);
  if (!o.ok()) return o;
  if (!peers->side.held(id, kHeldByOwner)) return {EINVAL, "the region is not held by mrl_peers_hold()"};
  Reach reach;
  (void)reach_of(region, &reach);  // recalled: RESTORED will tell the keys
  peers->side.resume(id, kHeldByOwner, reach);
  return {};
}

void recalled(mrl_peers* peers, std::uint64_t id, const mrl_event& event) {
  // A quarter is left for cutting, and for the library's own part.
  const std::chrono::milliseconds time(event.deadline_ms / 4 * 3);
  peers->side.hold(id, kRecalled, time, [region = event.region, recall = event.recall] { (void)mrl_complied(region, recall); });
}

Reach reach_in(const mrl_event& event) {
  return {{reinterpret_cast<std::uint64_t>(mrl_addr(event.region)), mrl_length(event.region), event.size, event.rkey,
           event.generation},
          rkeys_of(event.region)};
}

// What the callback has to return.
int serve(mrl_peers* peers, const mrl_event& event) {
  std::lock_guard lock(peers->mutex);
  const auto found = peers->ids.find(event.region);
  if (found == peers->ids.end()) return 0;
  switch (event.type) {
    case MRL_EVENT_RECALL:
      recalled(peers, found->second, event);
      return EINPROGRESS;
    case MRL_EVENT_RESTORED:
      peers->side.resume(found->second, kRecalled, reach_in(event));
      return 0;
    case MRL_EVENT_TRIMMED:
      peers->side.resize(found->second, event.size);
      return 0;
    case MRL_EVENT_FENCED:
      peers->side.end(found->second);
      return 0;
    default:
      return 0;
  }
}

Outcome add(mrl_peers* peers, ibv_qp* control, ibv_qp* const* data, std::size_t data_count, std::uint64_t* peer) {
  if (peers == nullptr) return missing("peers");
  if (control == nullptr) return missing("control");
  if (data == nullptr && data_count > 0) return missing("data");
  if (peer == nullptr) return missing("peer");
  std::vector<ibv_qp*> cut(data, data + data_count);
  if (std::find(cut.begin(), cut.end(), nullptr) != cut.end()) return {EINVAL, "one of data's queue pairs is NULL"};
  if (std::find(cut.begin(), cut.end(), control) != cut.end()) {
    return {EINVAL, "control is one of data's queue pairs; it must serve nothing else"};
  }
  return peers->side.add(control, std::move(cut), peer);
}

Outcome enter(mrl_peer* peer, std::uint64_t region, mrl_target* target, std::uint32_t timeout_ms) {
  if (peer == nullptr) return missing("peer");
  if (target == nullptr || target->struct_size < sizeof(std::size_t)) return missing("target (or its struct_size)");
  Place place;
  Outcome o = peer->side->enter(region, std::chrono::milliseconds(timeout_ms), &place);
  if (!o.ok()) return o;
  mrl_target out{};
  out.struct_size = target->struct_size;
  out.address = place.address;
  out.length = place.length;
  out.size = place.size;
  out.rkey = place.rkey;
  out.generation = place.generation;
  std::memcpy(static_cast<void*>(target), &out, std::min(out.struct_size, sizeof out));
  return {};
}

}  // namespace

extern "C" {

int mrl_peers_create(mrl_peers** peers) {
  return guarded([&]() -> Outcome {
    if (peers == nullptr) return missing("peers");
    *peers = new mrl_peers;
    return {};
  });
}

int mrl_peers_destroy(mrl_peers* peers) {
  return guarded([&]() -> Outcome {
    if (peers == nullptr) return missing("peers");
    delete peers;
    return {};
  });
}

int mrl_peers_add(mrl_peers* peers, ibv_qp* control, ibv_qp* const* data, size_t data_count, uint64_t* peer) {
  return guarded([&] { return add(peers, control, data, data_count, peer); });
}

int mrl_peers_remove(mrl_peers* peers, uint64_t peer) {
  return guarded([&]() -> Outcome { return peers == nullptr ? missing("peers") : peers->side.remove(peer); });
}

int mrl_peers_status(mrl_peers* peers, uint64_t peer) {
  return guarded([&]() -> Outcome { return peers == nullptr ? missing("peers") : peers->side.status(peer); });
}

int mrl_peers_offer(mrl_peers* peers, mrl_region* region, uint64_t id) {
  return guarded([&] { return offer(peers, region, id); });
}

int mrl_peers_withdraw(mrl_peers* peers, mrl_region* region, uint32_t timeout_ms) {
  return guarded([&] { return withdraw(peers, region, timeout_ms); });
}

int mrl_peers_hold(mrl_peers* peers, mrl_region* region, uint32_t timeout_ms) {
  return guarded([&] { return hold(peers, region, timeout_ms, true); });
}

int mrl_peers_release(mrl_peers* peers, mrl_region* region) {
  return guarded([&] { return release(peers, region); });
}

int mrl_peers_event(mrl_peers* peers, const mrl_event* event) {
  int answer = 0;
  const int failed = guarded([&]() -> Outcome {
    if (peers == nullptr) return missing("peers");
    if (event == nullptr || event->struct_size < sizeof *event) return missing("event (or its struct_size)");
    answer = serve(peers, *event);
    return {};
  });
  return failed != 0 ? failed : answer;
}

int mrl_peers_get_info(mrl_peers* peers, mrl_peers_info* info) {
  return guarded([&]() -> Outcome {
    if (peers == nullptr) return missing("peers");
    if (info == nullptr || info->struct_size < sizeof(std::size_t)) return missing("info (or its struct_size)");
    const OwnerCounts counts = peers->side.counts();
    mrl_peers_info out{};
    out.struct_size = info->struct_size;
    out.peers = counts.peers;
    out.holds = counts.holds;
    out.cut = counts.cut;
    out.hold_us_max = static_cast<std::uint64_t>(counts.hold_max.count());
    std::memcpy(static_cast<void*>(info), &out, std::min(out.struct_size, sizeof out));
    return {};
  });
}

int mrl_peer_create(ibv_qp* control, mrl_peer** peer) {
  return guarded([&]() -> Outcome {
    if (control == nullptr) return missing("control");
    if (peer == nullptr) return missing("peer");
    auto made = std::make_unique<mrl_peer>();
    Outcome o = RemoteSide::create(control, &made->side);
    if (o.ok()) *peer = made.release();
    return o;
  });
}

int mrl_peer_destroy(mrl_peer* peer) {
  return guarded([&]() -> Outcome {
    if (peer == nullptr) return missing("peer");
    delete peer;
    return {};
  });
}

int mrl_peer_enter(mrl_peer* peer, uint64_t region, mrl_target* target, uint32_t timeout_ms) {
  return guarded([&] { return enter(peer, region, target, timeout_ms); });
}

int mrl_peer_leave(mrl_peer* peer, uint64_t region) {
  return guarded([&]() -> Outcome { return peer == nullptr ? missing("peer") : peer->side->leave(region); });
}

}  // extern "C"
