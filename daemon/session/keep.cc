// SPDX-License-Identifier: Apache-2.0
// What a successor has to know is written down at each change: records in memory that outlives the process, descriptors
// with the service manager. The order is always the same: a descriptor is kept before the record that names it, a record
// goes before its descriptor.
#include <fcntl.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "daemon/session/broker.h"
#include "daemon/session/kept_names.h"
#include "daemon/sys/same_open_file.h"

namespace mrlease::session {

void Broker::note_numbers() {
  if (!keeps()) return;
  auto& head = kept_.state->head();
  head.next_session = next_session_;
  head.next_lease = next_lease_;
  head.next_store = next_store_;
  head.next_break = next_api_break_;
  head.next_file = next_file_;
}

void Broker::keep_session(core::SessionId id, std::uint64_t request, std::function<void()> then) {
  Session* s = find_session(id);
  if (!keeps() || s == nullptr || s->slot != keep::kNoSlot) return then();
  note_numbers();
  auto code = std::make_shared<int>(0);
  // A duplicate: the connection may close meanwhile, and its number be somebody else's.
  const fence::SharedFd copy(::fcntl(s->connection->native_handle(), F_DUPFD_CLOEXEC, 3));
  in_worker(
      [code, id, keeper = kept_.keeper, pidfd = s->pidfd, copy] {
        *code = keeper->put(named('s', id), copy.get());
        if (*code == 0 && pidfd) *code = keeper->put(named('p', id), pidfd.get());
      },
      [this, code, id, request, then = std::move(then)] {
        Session* still = find_session(id);
        if (still == nullptr || still->gone) return drop_names({named('s', id), named('p', id)});
        keep::SessionRecord r;
        r.id = id;
        r.pid = still->peer.pid;
        r.uid = still->peer.uid;
        r.gid = still->peer.gid;
        r.version = still->version;
        r.next_device = still->next_device;
        still->program.copy(r.program, sizeof r.program - 1);
        if (*code == 0) still->slot = kept_.state->sessions.put(r);
        if (*code == 0 && still->slot == keep::kNoSlot) *code = ENOSPC;
        if (*code == 0) return then();
        // A restart of the daemon would lose its leases without anybody's knowing.
        drop_names({named('s', id), named('p', id)});
        still->greeted = false;
        reply_status(id, request, *code,
                     std::string("the service manager cannot keep the connection over a restart of mrleased: ") + std::strerror(*code));
      });
}

void Broker::forget_session(Session& s) {
  if (!keeps() || s.slot == keep::kNoSlot) return;
  kept_.state->sessions.clear(std::exchange(s.slot, keep::kNoSlot));
  drop_names({named('s', s.id), named('p', s.id)});
}

void Broker::drop_names(std::vector<std::string> names) {
  if (!keeps()) return;
  workers_.run([names = std::move(names), keeper = kept_.keeper] {
    for (const std::string& name : names) keeper->drop(name);
  });
}

std::shared_ptr<KeptFile> Broker::kept_file(const LeaseHold& lease, bool* fresh) {
  const auto [first, last] = kept_files_.equal_range(lease.file);
  for (auto it = first; it != last;) {
    const auto kept = it->second.lock();
    it = kept ? std::next(it) : kept_files_.erase(it);
    if (kept && sys::same_open_file(kept->fd.get(), lease.fd.get())) return kept;
  }
  auto made = std::make_shared<KeptFile>();
  made->number = next_file_++;
  made->fd = lease.fd;
  made->drop = [keeper = kept_.keeper, number = made->number] { keeper->drop(named('f', number)); };
  kept_files_.emplace(lease.file, made);
  *fresh = true;
  return made;
}

void Broker::keep_lease(const std::shared_ptr<LeaseHold>& lease, std::function<void()> then) {
  const Session* s = find_session(lease->session);
  if (!keeps() || s == nullptr || s->slot == keep::kNoSlot) return then();
  bool fresh = false;
  lease->kept_file = kept_file(*lease, &fresh);
  note_numbers();
  auto code = std::make_shared<int>(0);
  in_worker(
      [code, lease, fresh, keeper = kept_.keeper] {
        if (fresh) *code = keeper->put(named('f', lease->kept_file->number), lease->fd.get());
        if (*code == 0 && lease->bounce) *code = keeper->put(named('b', lease->id), lease->bounce->memfd());
        if (*code == 0 && lease->bounce) *code = keeper->put(named('n', lease->id), lease->bounce->notes());
      },
      [this, code, lease, then = std::move(then)] {
        if (find_lease(lease->id) != lease) return;
        keep::LeaseRecord r;
        r.id = lease->id;
        r.session = lease->session;
        r.user = lease->user;
        r.request = lease->request;
        r.device = lease->file.device;
        r.inode = lease->file.inode;
        r.begin = lease->extent.begin;
        r.end = lease->extent.end;
        r.size_told = lease->size_told;
        r.file = lease->kept_file->number;
        r.backing = static_cast<std::uint32_t>(lease->backing);
        r.write = lease->write;
        r.share = lease->share;
        r.bounce = lease->bounce != nullptr;
        r.handed_back = lease->reclaimed;  // until its client has told of its memory regions, a successor knows of none
        if (*code == 0) lease->slot = kept_.state->leases.put(r);
        if (*code == 0 && lease->slot == keep::kNoSlot) *code = ENOSPC;
        if (*code == 0) return then();
        // A restart of the daemon would lose it without anybody's knowing.
        reply_status(lease->session, lease->request, *code,
                     std::string("the service manager cannot keep the lease over a restart: ") + std::strerror(*code));
        step(core::event::ReleaseLease{0, lease->id, lease->session});
      });
}

keep::LeaseRecord* Broker::record(const LeaseHold& lease) {
  return lease.slot == keep::kNoSlot ? nullptr : &kept_.state->leases.at(lease.slot);
}

void Broker::forget_lease(LeaseHold& lease) {
  if (!keeps()) return;
  forget_mrs(lease);
  forget_stores(std::exchange(lease.stores, {}));
  if (lease.slot != keep::kNoSlot) kept_.state->leases.clear(std::exchange(lease.slot, keep::kNoSlot));
  if (lease.bounce) drop_names({named('b', lease.id), named('n', lease.id)});
}

void Broker::tell_size(LeaseHold& lease, std::uint64_t size) {
  lease.size_told = size;
  if (auto* kept = record(lease)) kept->size_told = size;
}

bool Broker::keep_mr(const LeaseHold& lease, LeaseMr& mr) {
  if (lease.slot == keep::kNoSlot) return true;
  keep::MrRecord r;
  r.lease = lease.id;
  r.address = mr.mr.address;
  r.length = mr.mr.length;
  r.device = mr.device;
  r.driver_id = mr.mr.driver_id;
  r.handle = mr.mr.handle;
  r.lkey = mr.mr.lkey;
  r.rkey = mr.mr.rkey;
  mr.slot = kept_.state->mrs.put(r);
  return mr.slot != keep::kNoSlot;
}

void Broker::hand_back(LeaseHold& lease, bool under_way) {
  lease.handed_back = under_way;
  if (auto* kept = record(lease)) kept->handed_back = under_way ? 1 : 0;
}

void Broker::forget_mrs(LeaseHold& lease) {
  if (keeps())
    for (const LeaseMr& mr : lease.mrs) kept_.state->mrs.clear(mr.slot);
  lease.mrs.clear();
}

bool Broker::keep_store(const LeaseHold& lease, Store& store, core::RecallId made_by) {
  if (lease.slot == keep::kNoSlot) return true;
  keep::StoreRecord r;
  r.id = store.id;
  r.lease = lease.id;
  r.begin = store.extent.begin;
  r.end = store.extent.end;
  r.trim = store.trim;
  r.live = store.live;
  r.made_by = made_by;
  store.slot = kept_.state->stores.put(r);
  return store.slot != keep::kNoSlot;
}

void Broker::forget_stores(std::vector<Store> stores) {
  if (!keeps() || stores.empty()) return;
  std::vector<std::string> names;
  for (const Store& store : stores) {
    kept_.state->stores.clear(store.slot);
    names.push_back(named('t', store.id));
  }
  drop_names(std::move(names));
}

bool Broker::kept_frozen(const LeaseHold& lease, const core::Extent& part) const {
  return std::any_of(api_breaks_.begin(), api_breaks_.end(), [&](const auto& b) {
    return b.second.slot != keep::kNoSlot && b.second.file == lease.file && b.second.extent.overlaps(part) && b.second.extent.overlaps(lease.extent);
  });
}

bool Broker::frozen_now(const LeaseHold& lease) const {
  return std::any_of(api_breaks_.begin(), api_breaks_.end(), [&](const auto& b) {
    return b.second.kind == core::BreakKind::Freeze && b.second.file == lease.file && b.second.extent.overlaps(lease.extent);
  });
}

void Broker::keep_freeze(core::BreakId id, ApiBreak& b) {
  if (!keeps()) return;
  const core::Time most = options_.policy.freeze_hold_max;
  keep::FreezeRecord r;
  r.id = id;
  r.session = b.session;
  r.request = b.request;
  r.unsettled = b.unsettled;
  r.admin = b.admin;
  r.device = b.file.device;
  r.inode = b.file.inode;
  r.begin = b.extent.begin;
  r.end = b.extent.end;
  r.until = now() + (b.hold == 0 ? most : std::min(b.hold, most));
  b.slot = kept_.state->freezes.put(r);
}

}  // namespace mrlease::session
