// SPDX-License-Identifier: Apache-2.0
// Frames of clients: each is checked, answered or handed to the arbiter.
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "daemon/core/extents.h"
#include "daemon/session/broker.h"
#include "daemon/session/client_mapping.h"
#include "daemon/session/descriptors.h"
#include "daemon/session/translate.h"
#include "daemon/sys/pidfd.h"

namespace mrlease::session {

namespace v1 = wire::v1;
using wire::Frame;

namespace {

// Whether a user is in a group: by its primary group or by the group's list.
bool in_group(const Peer& peer, const std::string& group) {
  const struct group* g = ::getgrnam(group.c_str());
  if (g == nullptr) return false;
  if (g->gr_gid == peer.gid) return true;
  const struct passwd* user = ::getpwuid(peer.uid);
  for (char** m = g->gr_mem; user != nullptr && *m != nullptr; m++)
    if (std::strcmp(*m, user->pw_name) == 0) return true;
  return false;
}

// Why not; empty: the client gets one.
std::string no_userfaultfd(const Peer& peer, const Options& options) {
  if (const auto ruled = gives_userfaultfd(options.rules, peer.uid)) return *ruled ? "" : "a rule of the administrator gives the user no userfaultfd";
  const std::string& policy = options.userfaultfd;
  if (policy == "never") return "the daemon's policy gives userfaultfd to nobody";
  return policy == "always" || in_group(peer, policy) ? "" : "the user is not in group " + policy;
}

fence::SharedFd share(wire::Fd& fd) { return fence::SharedFd(fd.release()); }

// Not empty, and all of it.
bool inside(const v1::Range& range, const core::Extent& of) {
  const auto extent = to_core(range);
  return extent && range.length() != 0 && extent->begin >= of.begin && extent->end <= of.end;
}

// How long it takes holds up a fence's rescue.
constexpr std::uint64_t kOrphansAtOnce = std::uint64_t{16} << 20;
// Of one user. Each has descriptors, and may wait for its client's process.
constexpr int kNamingsMax = 64;

// What comes with a Merge of orphans. Of the daemon's own making, once: nothing that blocks, and nothing that shrinks under it.
Verdict check_orphans(const LeaseHold& lease, const v1::Merge& m, int memfd) {
  if (check_pages(memfd).code != 0) return Verdict{EINVAL, "merge: orphans: the pages are not a daemon's"};
  struct stat memory {};
  if (::fstat(memfd, &memory) != 0) return Verdict{errno, "merge: orphans: fstat of the pages"};
  const core::Extent pages{m.begin(), m.begin() + static_cast<std::uint64_t>(memory.st_size)};
  const std::uint64_t on_file = core::page_up(lease.size_told);
  std::uint64_t last = 0, bytes = 0;
  for (const auto& range : m.ranges()) {
    if (!inside(range, pages)) return Verdict{ERANGE, "merge: ranges: outside of the pages"};
    const core::Extent extent = *to_core(range);
    if (extent.begin < last) return Verdict{EINVAL, "merge: ranges: not in order"};
    last = extent.end;
    if (bytes += range.length(); bytes > kOrphansAtOnce) return Verdict{E2BIG, "merge: orphans: 16 MiB at once are the limit"};
    if (extent.begin < lease.extent.begin || extent.end > on_file)
      return Verdict{ERANGE, "merge: ranges: not of the lease, or cut off; extend it first"};
    // That the client says it uses: what lies under it may be frozen.
    for (const Store& store : lease.stores)
      if (store.complied && store.extent.overlaps(extent)) return Verdict{EBUSY, "merge: ranges: recalled"};
  }
  return {};
}

Verdict check_store(const Store* store, const v1::Merge& m) {
  if (store == nullptr) return Verdict{ENOENT, "merge: store: not one of the lease"};
  for (const auto& range : m.ranges()) {
    if (!inside(range, store->extent)) return Verdict{ERANGE, "merge: ranges: outside of the store"};
  }
  return {};
}

}  // namespace

void Broker::on_frame(core::SessionId id, Frame f, std::vector<wire::Fd>& fds) {
  Session* found = find_session(id);
  if (found == nullptr || found->gone) return;
  Session& s = *found;
  paces_[s.peer.uid].take(microseconds(), options_.messages_per_second_max);
  if (!s.greeted && !f.has_hello()) return reply_status(id, f.id(), EPROTO, "the first frame must be Hello");
  if (s.resuming) s.seen.insert(f.id());
  fds.resize(std::max<std::size_t>(fds.size(), 2));
  wire::Fd &fd = fds[0], &second = fds[1];
  switch (f.body_case()) {
    case Frame::kHello: return on_hello(s, f);
    case Frame::kAddDevice: return on_add_device(s, f, fd);
    case Frame::kAddUserfaultfd: return on_add_userfaultfd(s, f, fd);
    case Frame::kRegister: return on_register(s, f, fd, second);
    case Frame::kNameMapped: return on_name_mapped(s, f);
    case Frame::kAddMr: return on_add_mr(s, f);
    case Frame::kRemoveMr: return on_remove_mr(s, f);
    case Frame::kRelease: return on_release(s, f);
    case Frame::kExtend: return on_extend(s, f);
    case Frame::kMerge: return on_merge(s, f, fd);
    case Frame::kRecallDone: return on_recall_done(s, f);
    case Frame::kSyncFile: return on_file_break(s, f, fd, core::BreakKind::Sync);
    case Frame::kFreezeFile: return on_file_break(s, f, fd, core::BreakKind::Freeze);
    case Frame::kThawFile: return on_thaw(s, f);
    case Frame::kResumed: return on_resumed(s, f);
    case Frame::kReclaimed: return on_reclaimed(s, f);
    default: return reply_status(id, f.id(), EPROTO, "a frame that only the daemon sends");
  }
}

void Broker::on_hello(Session& s, const Frame& f) {
  const std::uint32_t version = wire::negotiate(f.hello().version_min(), f.hello().version_max());
  if (version == 0)
    return reply_status(s.id, f.id(), EPROTO,
                        "this daemon speaks versions " + std::to_string(wire::kVersionMin) + " to " +
                            std::to_string(wire::kVersionMax) + ": update the library or the daemon");
  // SO_PEERCRED shows 0: a process outside of the daemon's pid namespace. It could not be fenced by SIGKILL.
  if (s.peer.pid == 0)
    return reply_status(s.id, f.id(), ENOTSUP,
                        "mrleased runs in a pid namespace that does not hold this process: run it in the host's (a container: "
                        "with --pid=host)");
  if (const Verdict room = check_room(s.connection->native_handle()); room.code != 0) return reply_status(s.id, f.id(), room.code, room.message);
  s.greeted = true;
  s.version = version;
  s.program = f.hello().program().substr(0, 64) + "[" + std::to_string(s.peer.pid) + "]";
  chronicle_.session_began(s.id, {s.peer.pid, s.peer.uid, s.peer.gid, 0, f.hello().program().substr(0, 64)});
  Frame answer;
  v1::Welcome& w = *answer.mutable_welcome();
  w.set_version(version);
  // Each recall says its own; the longest of this user's is what the application has to be ready for.
  const core::Time recall_deadline = longest_recall(options_.rules, options_.policy, s.peer.uid);
  w.set_recall_deadline_ms(static_cast<std::uint32_t>(recall_deadline));
  // The application's share: what is left is for the library's own steps.
  w.set_callback_deadline_ms(static_cast<std::uint32_t>(recall_deadline * 3 / 4));
  w.set_leases_max(options_.leases_max);
  std::vector<fence::SharedFd> fds;
  if (const std::string why = no_userfaultfd(s.peer, options_); !why.empty()) {
    w.set_userfaultfd_reason(why);
  } else if (wire::Fd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC)); device) {
    w.set_userfaultfd(true);
    fds.emplace_back(device.release());
  } else {
    w.set_userfaultfd_reason(std::string("/dev/userfaultfd: ") + std::strerror(errno));
  }
  keep_session(s.id, f.id(), [this, id = s.id, request = f.id(), answer = std::move(answer), fds = std::move(fds)] {
    if (Session* still = find_session(id)) reply(*still, request, answer, fds);
  });
}

void Broker::on_add_device(Session& s, const Frame& f, wire::Fd& fd) {
  Device device;
  Verdict verdict = check_room(fd.get());
  if (verdict.code == 0) verdict = check_uverbs(fd.get(), &device.name);
  if (verdict.code != 0) return reply_status(s.id, f.id(), verdict.code, verdict.message);
  const std::uint32_t known = f.add_device().device();  // after a Resume
  if (known >= s.next_device) return reply_status(s.id, f.id(), EINVAL, "add_device: device: not a number that was given");
  if (s.devices.size() >= 64) return reply_status(s.id, f.id(), EMFILE, "64 devices of one session are the limit");
  if (const Verdict v = check_room_of(s.peer.uid, {.descriptors = 1}); v.code != 0) return reply_status(s.id, f.id(), v.code, v.message);
  device.driver_id = f.add_device().driver_id();
  device.uverbs = share(fd);
  const std::uint32_t number = known != 0 ? known : s.next_device++;
  for (const core::LeaseId id : s.leases)
    if (const auto lease = find_lease(id))
      for (LeaseMr& mr : lease->mrs)
        if (mr.device == number && !mr.mr.uverbs) {
          mr.mr.uverbs = device.uverbs;
          mr.mr.driver_id = device.driver_id;
        }
  if (s.slot != keep::kNoSlot) kept_.state->sessions.at(s.slot).next_device = s.next_device;
  in_worker([before = std::exchange(s.devices[number], {})] {}, [] {});  // its last close destroys what is registered there
  s.devices[number] = std::move(device);
  charge(s);
  Frame answer;
  answer.mutable_device_added()->set_device(number);
  reply(s, f.id(), std::move(answer));
}

void Broker::on_add_userfaultfd(Session& s, const Frame& f, wire::Fd& fd) {
  Verdict verdict = check_userfaultfd(fd.get());
  if (verdict.code == 0) verdict = check_room_of(s.peer.uid, {.descriptors = 1});
  if (verdict.code == 0) {
    in_worker([before = std::exchange(s.userfaultfd, {})] {}, [] {});  // its last close may wait
    s.userfaultfd = share(fd);
    charge(s);
  }
  reply_status(s.id, f.id(), verdict.code, verdict.message);
}

void Broker::on_name_mapped(Session& s, const Frame& f) {
  if (s.naming) return reply_status(s.id, f.id(), EBUSY, "name_mapped: one at a time");
  Namer& namer = namers_[s.peer.uid];
  if (!namer.pool.ready()) return reply_status(s.id, f.id(), EAGAIN, "name_mapped: mrleased can have no thread for it now; try again");
  if (namer.under_way >= kNamingsMax) return reply_status(s.id, f.id(), EAGAIN, "name_mapped: too many of this user's are under way; try again");
  s.naming = true;
  auto verdict = std::make_shared<Verdict>();
  auto file = std::make_shared<sys::Fd>();
  ++namer.under_way;
  in_worker(
      namer.pool,
      [verdict, file, peer = s.peer, pidfd = s.pidfd, address = f.name_mapped().address()] {
        *verdict = {ENOMEM, "name_mapped: out of memory"};  // what holds if the next line throws
        *verdict = name_mapped(peer.pid, peer.uid, peer.gid, address, file.get());
        if (verdict->code == 0 && sys::signal_pidfd(pidfd.get(), 0) != 0) *verdict = {ESRCH, "the client is gone"};
      },
      [this, verdict, file, user = s.peer.uid, id = s.id, request = f.id()] {
        if (--namers_.at(user).under_way == 0) namers_.erase(user);
        Session* const still = find_session(id);
        if (still == nullptr) return;
        still->naming = false;
        if (verdict->code != 0) return reply_status(id, request, verdict->code, verdict->message);
        Frame answer;
        answer.mutable_named();
        reply(*still, request, std::move(answer), {fence::SharedFd(file->release())});
      });
}

void Broker::on_register(Session& s, const Frame& f, wire::Fd& fd, wire::Fd& memory) {
  const v1::Register& r = f.register_();
  if (defer(s, f, fd, memory)) return;
  if (r.reclaim() && still_ending(s)) return reply_status(s.id, f.id(), EAGAIN, "a session of this process is still being ended");
  FileFacts facts;
  Verdict verdict = check_room(fd.get());
  if (verdict.code == 0) verdict = check_file(fd.get(), r.write(), s.peer.pid, &facts);
  if (verdict.code != 0) return reply_status(s.id, f.id(), verdict.code, verdict.message);
  if (const std::string why = banned_ ? banned_(facts.key, fd.get()) : ""; !why.empty()) return reply_status(s.id, f.id(), ESHUTDOWN, why);
  const auto backing = to_core(r.backing());
  const auto extent = to_core(r.range());
  if (!backing) return reply_status(s.id, f.id(), EINVAL, "register: backing: not one that can be leased");
  if (!extent || r.range().length() == 0) return reply_status(s.id, f.id(), EINVAL, "register: range: empty, or beyond 2^64");
  if (extent->end > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max()))
    return reply_status(s.id, f.id(), EINVAL, "register: range: beyond the largest offset of a file");
  if (extent->begin % store::kPage != 0) return reply_status(s.id, f.id(), EINVAL, "register: range.offset: not a multiple of 4096");
  if (extent->end > facts.size && !r.reclaim())
    return reply_status(s.id, f.id(), ERANGE,
                        "the range ends at " + std::to_string(extent->end) + ", the file at " + std::to_string(facts.size));
  if (const Verdict v = memory ? check_pages(memory.get()) : Verdict{}; v.code != 0) return reply_status(s.id, f.id(), v.code, v.message);
  const Ruling ruled = ruling(options_.rules, fd.get(), s.peer.uid, r.write(), *backing);
  if (ruled.code != 0) return reply_status(s.id, f.id(), ruled.code, ruled.refused);
  if (const Verdict v = check_room_of(s.peer.uid, usage_of(*backing, r.range().length())); v.code != 0)
    return reply_status(s.id, f.id(), v.code, v.message);

  auto lease = std::make_shared<LeaseHold>();
  lease->id = next_lease_++;
  lease->session = s.id;
  lease->user = s.peer.uid;
  lease->request = f.id();
  lease->file = facts.key;
  lease->extent = *extent;
  lease->backing = *backing;
  lease->write = r.write();
  lease->share = r.share();
  lease->limits = limits_of(options_.rules, ruled.rule, *backing);
  lease->fd = share(fd);
  const std::uint64_t on_file = r.reclaim() ? std::min(facts.size, r.on_file_end()) : facts.size;
  // 1: the arbiter takes 0 for "not said".
  lease->size_told = std::min(extent->end, std::max<std::uint64_t>({on_file, extent->begin, 1}));
  lease->reclaimed = r.reclaim();
  lease->end_reclaimed = on_file;
  if (memory) lease->clients_memory = share(memory);
  FileEntry& entry = files_[facts.key];
  if (entry.leases++ == 0) {
    entry.fd = lease->fd;
    entry.fd_owner = lease->id;
    entry.coverage = guard_->watch(facts.key, entry.fd.get());
  }
  if (entry.coverage.kind == guard::Kind::Precontent) lease->truncates = store::Truncates::Held;
  charge(*lease);
  leases_[lease->id] = lease;
  s.leases.insert(lease->id);
  if (s.leases.size() == 1) note_holders();
  core::Lease wanted{lease->id, s.id, facts.key, *extent, lease->size_told, *backing, r.write(), r.share(), ruled.rule};
  step(core::event::RequestLease{new_request(s.id, f.id(), lease->id), wanted});
}

void Broker::on_add_mr(Session& s, const Frame& f) {
  const v1::AddMr& a = f.add_mr();
  const auto lease = own_lease(s, a.lease(), f.id());
  if (!lease) return;
  const auto device = s.devices.find(a.device());
  // After a restart its descriptor may still be on its way: until then, a fence of this MR can only kill.
  const bool comes_again = s.adopted && a.device() != 0 && a.device() < s.next_device;
  if (device == s.devices.end() && !comes_again) return reply_status(s.id, f.id(), ENODEV, "add_mr: device: not one of this session");
  if (lease->fencing) return reply_status(s.id, f.id(), EKEYREVOKED, "the lease was fenced meanwhile");
  // Asked again after a restart: the predecessor had noted it and could not say so any more.
  const auto same = [&](const LeaseMr& mr) { return mr.device == a.device() && mr.mr.handle == a.handle(); };
  if (s.adopted && std::any_of(lease->mrs.begin(), lease->mrs.end(), same)) return reply_status(s.id, f.id(), 0, {});
  if (lease->mrs.size() >= 256) return reply_status(s.id, f.id(), EMFILE, "256 MRs of one lease are the limit");
  const Device known = device != s.devices.end() ? device->second : Device{};
  lease->mrs.push_back({a.device(), fence::Mr{known.uverbs, known.driver_id, a.handle(), a.lkey(), a.rkey(), a.address(), a.length()}});
  lease->mrs_told = true;
  if (!keep_mr(*lease, lease->mrs.back())) {
    lease->mrs.pop_back();
    return reply_status(s.id, f.id(), ENOSPC, "add_mr: a restart of mrleased would forget it: " +
                                                  std::to_string(keep::MrRecord::kMax) + " MRs of all clients are the limit");
  }
  hand_back(*lease, false);  // a library has deregistered what it dropped before it registers anew
  reply_status(s.id, f.id(), 0, {});
}

void Broker::on_remove_mr(Session& s, const Frame& f) {
  const v1::RemoveMr& r = f.remove_mr();
  const auto lease = own_lease(s, r.lease(), f.id());
  if (!lease) return;
  if (lease->fencing) return reply_status(s.id, f.id(), EKEYREVOKED, "the lease is fenced: the daemon has destroyed the MR");
  for (auto it = lease->mrs.begin(); it != lease->mrs.end(); ++it) {
    if (it->device != r.device() || it->mr.handle != r.handle()) continue;
    hand_back(*lease, true);  // first: a successor must not miss both
    if (keeps()) kept_.state->mrs.clear(it->slot);
    lease->mrs.erase(it);
    return reply_status(s.id, f.id(), 0, {});
  }
  if (s.adopted) return reply_status(s.id, f.id(), 0, {});  // asked again: the predecessor had removed it
  reply_status(s.id, f.id(), ENOENT, "no such MR on the lease");
}

void Broker::on_release(Session& s, const Frame& f) {
  const auto lease = own_lease(s, f.release().lease(), f.id());
  if (!lease) return;
  if (!lease->mrs.empty() && !lease->fencing) return reply_status(s.id, f.id(), EBUSY, "the lease still has MRs: remove them first");
  // Frozen stores come to the file when the arbiter says so: not while somebody has it frozen.
  const auto request = new_request(s.id, f.id());
  auto go_on = [this, request, lease] {
    rescue_trimmed({lease}, [this, request, lease] { step(core::event::ReleaseLease{request, lease->id, lease->session}); });
  };
  // While a fence runs its memory regions may still be alive: nobody may be told that the lease is out of the way.
  if (lease->fencing && !lease->destroyed) return lease->after_fence.push_back(std::move(go_on));
  go_on();
}

void Broker::on_extend(Session& s, const Frame& f) {
  const auto lease = own_lease(s, f.extend().lease(), f.id());
  if (!lease) return;
  if (lease->fencing) return reply_status(s.id, f.id(), EKEYREVOKED, "the lease is fenced");
  step(core::event::ExtendLease{new_request(s.id, f.id()), lease->id, s.id, file_size(lease->file)});
}

void Broker::on_merge(Session& s, const Frame& f, wire::Fd& orphans) {
  const v1::Merge& m = f.merge();
  const auto lease = own_lease(s, m.lease(), f.id());
  if (!lease) return;
  if (lease->fencing) return reply_status(s.id, f.id(), EKEYREVOKED, "the lease is fenced: the daemon has merged the store");
  if (!lease->write) return reply_status(s.id, f.id(), EACCES, "merge: the lease is for reading");
  const Store* store = nullptr;
  for (const Store& candidate : lease->stores)
    if (candidate.id == m.store()) store = &candidate;
  if (const Verdict v = orphans ? check_orphans(*lease, m, orphans.get()) : check_store(store, m); v.code != 0)
    return reply_status(s.id, f.id(), v.code, v.message);
  if (lease->merging) return reply_status(s.id, f.id(), EBUSY, "merge: one at a time on a lease");
  lease->merging = true;
  const std::uint64_t begin = orphans ? m.begin() : store->extent.begin;
  const fence::SharedFd memfd = orphans ? share(orphans) : store->memfd;
  auto code = std::make_shared<int>(0);
  in_worker(
      [code, lease, memfd, begin, m] {
        std::lock_guard lock(lease->file_mutex);
        std::vector<store::MergeRange> ranges;
        for (const auto& range : m.ranges()) {
          const std::uint64_t end = std::min(range.offset() + range.length(), lease->extent.end);
          if (range.offset() < end) ranges.push_back({range.offset(), end - range.offset()});
        }
        *code = store::merge_ranges(memfd.get(), begin, lease->fd.get(), ranges, [lease] { return bool{lease->fencing}; });
      },
      [this, code, lease, session = s.id, request = f.id()] {
        lease->merging = false;
        reply_status(session, request, *code, *code == 0 ? "" : std::string("writing to the file: ") + std::strerror(*code));
      });
}

void Broker::on_recall_done(Session& s, const Frame& f) {
  const v1::RecallDone& r = f.recall_done();
  if (r.code() != 0) log_(2, s.program + " refuses a recall: " + r.message().substr(0, 200));
  const auto it = recalls_.find(r.recall());
  int answer = r.code();
  std::shared_ptr<LeaseHold> gives_up;
  if (it != recalls_.end()) {
    const auto lease = find_lease(it->second.lease);
    if (!lease || lease->session != s.id) return;  // not this client's to answer
    const bool ends_store = it->second.action == core::Action::Thaw || it->second.action == core::Action::Settle;
    // A fenced lease's stores are in the hands of rescue_stores().
    if (ends_store && r.code() == 0 && !lease->fencing) {
      const auto ended = std::stable_partition(lease->stores.begin(), lease->stores.end(),
                                               [&](const Store& store) { return store.id != it->second.store; });
      forget_stores({ended, lease->stores.end()});
      lease->stores.erase(ended, lease->stores.end());
    }
    if (auto* kept = record(*lease); kept != nullptr && it->second.action == core::Action::Reregister && answer == 0) kept->quiesced = 0;
    answer = credited(it->second.action, answer, !lease->mrs.empty());
    if (answer != r.code()) log_(2, s.program + " says that it has complied, but its memory regions are there: it is fenced");
    // Who says so although he refuses (a disk that fails, after direct's memory regions went) is believed as who complies.
    if ((ends_mrs(it->second.action) && answer == 0) || r.deregistered()) hand_back(*lease, false);
    for (Store& store : lease->stores)
      if (store.id == it->second.store && answer == 0) {
        store.live = store.complied = true;
        if (store.slot != keep::kNoSlot) kept_.state->stores.at(store.slot).live = 1;
      }
    if (it->second.action == core::Action::Release) gives_up = lease;
    lease->recalls.erase(it->first);
    recalls_.erase(it);
  }
  const auto answered = [this, recall = r.recall(), session = s.id, answer] { step(core::event::RecallAnswered{recall, session, answer}); };
  // A lease that is revoked between a Trim and its Settle (by a successor) owes what it has in the trim's store.
  if (gives_up && answer == 0) return rescue_trimmed({gives_up}, answered);
  answered();
}

// Sync and Freeze: whoever has the descriptor may ask; a freeze holds others up, so it needs the right to write.
void Broker::on_file_break(Session& s, const Frame& f, wire::Fd& fd, core::BreakKind kind) {
  const bool freeze = kind == core::BreakKind::Freeze;
  wire::Fd none;
  if (defer(s, f, fd, none)) return;  // what was written while there was no daemon is in pages that it does not have yet
  const auto extent = to_core(freeze ? f.freeze_file().range() : f.sync_file().range());
  FileFacts facts;
  const bool again = !freeze && f.sync_file().failed();
  const Verdict verdict = check_file(fd.get(), freeze || again, s.peer.pid, &facts);
  if (verdict.code != 0) return reply_status(s.id, f.id(), verdict.code, verdict.message);
  if (!extent) return reply_status(s.id, f.id(), EINVAL, "range: beyond 2^64");
  if (freeze && s.freezes.size() >= 1024) return reply_status(s.id, f.id(), EDQUOT, "1024 freezes of one session are the limit");
  if (freeze && !can_keep_freeze())
    return reply_status(s.id, f.id(), ENOSPC, "a restart of mrleased would forget the freeze: " +
                                                  std::to_string(keep::FreezeRecord::kMax) + " of all clients are the limit");
  if (const Verdict v = check_room_of(s.peer.uid, {.descriptors = 1}); v.code != 0) return reply_status(s.id, f.id(), v.code, v.message);
  const core::BreakId id = next_api_break_++;
  note_numbers();
  api_breaks_[id] = ApiBreak{s.id, f.id(), kind, facts.key, share(fd), 0, *extent, f.freeze_file().hold_ms()};
  api_breaks_[id].user = s.peer.uid;
  api_breaks_[id].charge = accounts_.charge(s.peer.uid, {.descriptors = 1});
  if (freeze) {
    s.freezes.insert(id);
    watch_frozen_memory();
  }
  const core::event::RequestBreak asked{id, facts.key, kind, *extent, 0, freeze ? f.freeze_file().hold_ms() : 0, s.id};
  if (!again) return step(asked);
  sync_failed(facts.key, 0, [this, asked] {
    if (api_breaks_.count(asked.id) != 0) step(asked);
  });
}

void Broker::on_thaw(Session& s, const Frame& f) {
  const core::BreakId id = f.thaw_file().freeze();
  if (s.freezes.erase(id) == 0) return reply_status(s.id, f.id(), ETIMEDOUT, "the freeze is over: " + why_over(id));
  step(core::event::Thaw{id, new_request(s.id, f.id())});
}

// The requests that wait for an answer and did not come to us had come to the predecessor.
void Broker::on_resumed(Session& s, const Frame& f) {
  if (!s.resuming) return;
  // The answer to a predecessor's Resume. What that one has answered since, its client has heard of when it answers ours.
  if (const std::uint64_t start = f.resumed().start(); start != 0 && start != kept_.state->head().starts) return;
  s.resuming = false;
  const auto seen = std::exchange(s.seen, {});
  for (const std::uint64_t waiting : f.resumed().waiting()) {
    if (seen.count(waiting) != 0) continue;
    const auto frozen = std::find_if(api_breaks_.begin(), api_breaks_.end(), [&](const auto& b) {
      return b.second.session == s.id && b.second.request == waiting && b.second.kind == core::BreakKind::Freeze;
    });
    if (frozen != api_breaks_.end()) {  // it holds, and only the answer was lost
      send_frozen(s, frozen->first, frozen->second);
      continue;
    }
    // A lease of which the client never heard is nobody's.
    const std::set<core::LeaseId> ids = s.leases;
    for (const core::LeaseId id : ids)
      if (const auto lease = find_lease(id); lease && lease->request == waiting && lease->mrs.empty())
        step(core::event::ReleaseLease{0, id, s.id});
    reply_status(s.id, waiting, ERESTART, "the daemon was replaced: ask again");
  }
}

}  // namespace mrlease::session
