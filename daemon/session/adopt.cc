// SPDX-License-Identifier: Apache-2.0
// The successor of a daemon that was killed, has crashed or was upgraded: its sessions and leases are taken over, and what
// it had begun is brought to an end. The guard reads nothing before all of this is done: whoever was held is still held.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <system_error>
#include <utility>

#include "daemon/session/broker.h"
#include "daemon/session/kept_names.h"
#include "daemon/session/translate.h"

namespace mrlease::session {

namespace {

// A connection that is not there any more ends like one that its client has closed.
int closed_connection() {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return -1;
  ::close(ends[1]);
  return ends[0];
}

}  // namespace

void Broker::adopt(const std::vector<guard::Overdue>& overdue) {
  if (!keeps()) return;
  keep::State& state = *kept_.state;
  auto& head = state.head();
  if (head.hash_seed == 0) head.hash_seed = store::hash_seed();
  else store::set_hash_seed(head.hash_seed);
  next_session_ = head.next_session;
  next_lease_ = head.next_lease;
  next_store_ = head.next_store;
  next_api_break_ = head.next_break;
  next_file_ = head.next_file;
  state.sessions.each([this](keep::Slot slot, const keep::SessionRecord& r) { adopt_session(slot, r); });
  // Resume goes before anything that is asked for; what clients have sent is read when the loop runs.
  for (auto& [id, session] : sessions_) {
    Session& s = *session;
    s.connection->start([this, n = id](wire::Frame f, std::vector<wire::Fd>& fds) { on_frame(n, std::move(f), fds); },
                        [this, n = id](std::string why) { session_closed(n, why); }, [this, user = s.peer.uid] { return patience(user); });
    watch_exit(s);
    if (s.version < 2) continue;
    s.resuming = true;
    wire::Frame frame;
    frame.mutable_resume()->set_version(wire::kVersionMax);
    frame.mutable_resume()->set_start(head.starts);
    reply(s, 0, std::move(frame));
  }
  state.leases.each([this](keep::Slot slot, const keep::LeaseRecord& r) { adopt_lease(slot, r); });
  state.mrs.each([this](keep::Slot slot, const keep::MrRecord& r) { adopt_mr(slot, r); });
  state.stores.each([this](keep::Slot slot, const keep::StoreRecord& r) { adopt_store(slot, r); });
  adopted_files_.clear();
  adopt_into_arbiter();
  adopt_breaks(overdue);
  end_sessions_of_before();
  for (auto& [file, entry] : files_) publish(file);
  const std::size_t left = kept_.keeper->drop_unclaimed();
  log_(1, "took over " + std::to_string(sessions_.size()) + " sessions, " + std::to_string(leases_.size()) + " leases, " +
              std::to_string(api_breaks_.size()) + " freezes; " + std::to_string(left) + " kept descriptors were of no use any more");
}

void Broker::adopt_session(keep::Slot slot, const keep::SessionRecord& r) {
  auto session = std::make_unique<Session>();
  Session& s = *session;
  s.id = r.id;
  s.slot = slot;
  s.peer = {r.pid, r.uid, r.gid};
  s.version = r.version;
  s.next_device = r.next_device;
  s.program = r.program;
  s.greeted = s.adopted = true;
  sys::Fd connection = kept_.keeper->take(named('s', r.id));
  const int fd = connection ? connection.release() : closed_connection();
  s.connection = std::make_shared<Connection>(Connection::Socket(loop_, asio::generic::seq_packet_protocol(AF_UNIX, 0), fd));
  if (sys::Fd pidfd = kept_.keeper->take(named('p', r.id))) s.pidfd = fence::SharedFd(pidfd.release());
  charge(s);
  chronicle_.session_began(r.id, {r.pid, r.uid, r.gid, 0, r.program});
  sessions_[r.id] = std::move(session);
}

void Broker::lost(keep::Slot slot, const keep::LeaseRecord& r, const std::string& why) {
  log_(3, "lease " + std::to_string(r.id) + " is lost: " + why);
  kept_.state->leases.clear(slot);
  bool has_mrs = false;
  kept_.state->mrs.each([&](keep::Slot, const keep::MrRecord& mr) { has_mrs = has_mrs || mr.lease == r.id; });
  const Session* s = find_session(r.session);
  if (s == nullptr || !has_mrs) return;
  // Its device may still reach the file, and nothing is left to fence it by.
  fence::Order order;
  order.pidfd = s->pidfd;
  order.kill_at_once = true;
  fence::run(order, [](fence::Result) {});
}

void Broker::adopt_lease(keep::Slot slot, const keep::LeaseRecord& r) {
  Session* s = find_session(r.session);  // nullptr: it has ended, and its lease waits for a thaw or a flush
  auto lease = std::make_shared<LeaseHold>();
  lease->id = r.id;
  lease->slot = slot;
  lease->session = r.session;
  lease->user = r.user;
  lease->request = r.request;
  lease->file = {r.device, r.inode};
  lease->extent = {r.begin, r.end};
  lease->backing = static_cast<core::Backing>(r.backing);
  lease->write = r.write != 0;
  lease->share = r.share != 0;
  lease->size_told = r.size_told;
  lease->fencing = lease->destroyed = s == nullptr || r.fenced == keep::LeaseRecord::kFenceDone;
  lease->handed_back = r.handed_back != 0;
  auto& kept = adopted_files_[r.file];
  if (!kept) {
    sys::Fd fd = kept_.keeper->take(named('f', r.file));
    if (!fd) return lost(slot, r, "its file's descriptor was not kept");
    kept = std::make_shared<KeptFile>();
    kept->number = r.file;
    kept->fd = fence::SharedFd(fd.release());
    kept->drop = [keeper = kept_.keeper, number = r.file] { keeper->drop(named('f', number)); };
    kept_files_.emplace(lease->file, kept);
  }
  lease->kept_file = kept;
  lease->fd = kept->fd;
  try {
    if (r.bounce != 0) adopt_bounce(*lease);
  } catch (const std::system_error& e) {
    return lost(slot, r, e.what());
  }
  FileEntry& entry = files_[lease->file];
  if (entry.leases++ == 0) {
    entry.fd = lease->fd;
    entry.fd_owner = lease->id;
    entry.coverage = guard_->watch(lease->file, entry.fd.get());
  }
  if (entry.coverage.kind == guard::Kind::Precontent) lease->truncates = store::Truncates::Held;
  charge(*lease);
  leases_[lease->id] = lease;
  s != nullptr ? s->leases.insert(lease->id) : outliving_.insert(lease->id);
}

// A lease whose device access has ended is out of every break's way. But what it owes the file is known to nobody else: so
// it is the arbiter's again, to be flushed, or merged at the thaw. It may have been killed in the middle of that.
void Broker::adopt_into_arbiter() {
  std::set<core::LeaseId> over;
  for (const auto& [id, lease] : leases_) {
    const bool owes = lease->write && (lease->bounce || !lease->stores.empty());
    // The predecessor may have ended before it could say so. Whoever hears it twice has heard it.
    if (lease->destroyed && find_session(lease->session) != nullptr)
      notice(*lease, wire::v1::Notice::FENCED, 0, "its device access was ended before mrleased was replaced");
    if (!lease->destroyed || owes) {
      step(core::event::AdoptLease{{id, lease->session, lease->file, lease->extent, lease->size_told, lease->backing, lease->write, lease->share,
                                    ruling(options_.rules, lease->fd.get(), lease->user, lease->write, lease->backing).rule}});
      if (!lease->destroyed && record(*lease)->fenced == keep::LeaseRecord::kFenceOrdered) step(core::event::AdoptFence{id});
    } else if (find_session(lease->session) == nullptr) {
      over.insert(id);
    }
  }
  for (const core::LeaseId id : over) drop_lease(id);
}

void Broker::end_sessions_of_before() {
  std::map<core::SessionId, Leases> ended;
  for (const auto& [id, lease] : leases_)
    if (find_session(lease->session) == nullptr) ended[lease->session].push_back(lease);
  // As session_closed() ends: what no freeze keeps is written first.
  for (const auto& [id, leases] : ended) rescue_trimmed(leases, [this, session = id] { step(core::event::SessionGone{session}); });
}

void Broker::adopt_bounce(LeaseHold& lease) {
  sys::Fd memfd = kept_.keeper->take(named('b', lease.id)), notes = kept_.keeper->take(named('n', lease.id));
  lease.bounce = std::make_shared<store::Bounce>(lease.fd, lease.extent.begin, lease.extent.end - lease.extent.begin,
                                                 lease.truncates, memfd.release(), notes.release());
}

void Broker::adopt_mr(keep::Slot slot, const keep::MrRecord& r) {
  const auto lease = find_lease(r.lease);
  if (!lease) return kept_.state->mrs.clear(slot);
  // Its uverbs descriptor comes again from the client; a fence before that can only kill.
  lease->mrs.push_back({r.device, fence::Mr{{}, r.driver_id, r.handle, r.lkey, r.rkey, r.address, r.length}, slot});
}

void Broker::adopt_store(keep::Slot slot, const keep::StoreRecord& r) {
  const auto lease = find_lease(r.lease);
  sys::Fd memfd = lease ? kept_.keeper->take(named('t', r.id)) : sys::Fd();
  if (!memfd) {
    if (lease) log_(3, "lease " + std::to_string(r.lease) + ": a store was not kept; what is in it is its client's to merge");
    return kept_.state->stores.clear(slot);
  }
  lease->stores.push_back({r.id, {r.begin, r.end}, fence::SharedFd(memfd.release()), r.trim != 0, r.live != 0, slot,
                          accounts_.charge(lease->user, {.descriptors = 1})});
  // What the predecessor asked for is nobody's to wait for. But who answers it now is using the store, or has brought it back.
  const auto may_be_answered = [&](core::RecallId recall, core::Action action) {
    if (recall == 0) return;
    recalls_[recall] = {r.lease, action, r.id};
    lease->recalls.insert(recall);
  };
  if (r.live == 0) may_be_answered(r.made_by, core::Action::Freeze);
  may_be_answered(r.ended_by, r.trim != 0 ? core::Action::Settle : core::Action::Thaw);
}

void Broker::adopt_breaks(const std::vector<guard::Overdue>& overdue) {
  for (const auto& [id, file] : overdue) {
    guard_breaks_[id] = file;
    inherited_.inside(id, file);
    const std::string path = path_of(file);
    log_(2, "an operation from before the restart is still running on " + (path.empty() ? "a file without leases" : path) +
                ": leases of it end, and new ones wait for its end");
    step(core::event::AdoptPassing{id, file});
  }
  kept_.state->freezes.each([this](keep::Slot slot, const keep::FreezeRecord& r) { adopt_freeze(slot, r); });
  std::vector<core::FileKey> files;
  for (const auto& [file, entry] : files_) files.push_back(file);
  for (const core::FileKey& file : files) {
    if (!inherited_.changes(file)) {
      adopt_file_breaks(file);
      continue;
    }
    // An operation that the predecessor allowed is still running: nothing may come back under it. Its leases end.
    const core::BreakId id = next_api_break_++;
    guard_breaks_[id] = file;
    inherited_.revokes(id, file);
    // Not deniable: under a client that refuses, its device would come back.
    step(core::event::RequestBreak{id, file, core::BreakKind::Revoke, {}, 0, 0, 0, false});
  }
  note_numbers();
}

std::vector<LeftLease> Broker::left_leases(const core::FileKey& file) {
  std::vector<LeftLease> left;
  for (const auto& [id, lease] : leases_) {
    if (lease->file != file || arbiter_.find(id) == nullptr) continue;
    const auto* kept = record(*lease);
    left.push_back({id, lease->extent, lease->size_told, lease->bounce != nullptr, lease->write, kept != nullptr && kept->quiesced != 0, {}});
    for (const Store& store : lease->stores)
      left.back().stores.push_back({store.extent, store.trim, kept_frozen(*lease, store.extent)});
  }
  return left;
}

void Broker::adopt_file_breaks(const core::FileKey& file) {
  for (core::event::AdoptBreak& b : second_halves(file, file_size(file), left_leases(file))) {
    b.id = next_api_break_++;
    step(b);
  }
}

void Broker::adopt_freeze(keep::Slot slot, const keep::FreezeRecord& r) {
  Session* s = find_session(r.session);
  const core::FileKey file{r.device, r.inode};
  const core::Time at = now();
  if ((s == nullptr && r.admin == 0) || r.until <= at) return kept_.state->freezes.clear(slot);  // its stores are thawed with the rest
  core::event::AdoptBreak freeze{r.id, file, core::BreakKind::Freeze, {r.begin, r.end}, file_size(file), r.until - at, r.session, {}};
  freeze.parts = frozen_parts(freeze.extent, left_leases(file));
  ApiBreak& b = api_breaks_[r.id];
  b.session = r.session;
  b.request = r.request;
  b.unsettled = r.unsettled;
  b.kind = core::BreakKind::Freeze;
  b.file = file;
  b.extent = {r.begin, r.end};
  b.hold = r.until - at;
  b.slot = slot;
  b.admin = r.admin != 0;
  b.user = s != nullptr ? s->peer.uid : 0;
  watch_frozen_memory();
  if (s != nullptr) s->freezes.insert(r.id);
  step(freeze);
}

}  // namespace mrlease::session
