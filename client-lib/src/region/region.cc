// SPDX-License-Identifier: Apache-2.0
// A region's life: lease, mapping, registration; deregistration.
#include "client-lib/src/region/region.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <future>

#include "client-lib/src/protocol/frames.h"

namespace mrlease::client {
namespace {

wire::v1::Backing on_wire(const Choice& choice) {
  switch (choice.backing) {
    case MRL_BACKING_DIRECT:
      return wire::v1::BACKING_DIRECT;
    case MRL_BACKING_ODP:
      return wire::v1::BACKING_ODP_TRANSPARENT;
    case MRL_BACKING_ODP_COOPERATIVE:
      return wire::v1::BACKING_ODP_COOPERATIVE;
    default:
      return wire::v1::BACKING_BOUNCE;
  }
}

void copy_text(char* to, std::size_t size, const std::string& from) { std::snprintf(to, size, "%s", from.c_str()); }

}  // namespace

Region::Region(Context& context, RegionSpec spec, mrl_region* handle)
    : context_(context), connection_(context.connection()), spec_(std::move(spec)), handle_(handle) {
  layout_.length = page_up(spec_.length);
  layout_.file = spec_.file.get();
  layout_.file_offset = spec_.offset;
  layout_.protection = PROT_READ | (spec_.write ? PROT_WRITE : 0);
  registrations_.emplace_back();
  registrations_.front().pd = spec_.pd;
  registrations_.front().access = spec_.access;
}

Region::~Region() { let_go(); }

void Region::let_go() {
  backing_.reset();  // takes its watch away before the addresses go
  unmap();
}

void Region::unmap() {
  if (layout_.base == nullptr) return;
  if (spec_.adopted == nullptr) {
    ::munmap(layout_.base, layout_.length);
  } else {  // as it was, inherited by children again
    ::mmap(layout_.base, layout_.length, layout_.protection, MAP_SHARED | MAP_FIXED, layout_.file, static_cast<off_t>(layout_.file_offset));
  }
  layout_.base = nullptr;
}

Outcome Region::create(Context& context, RegionSpec spec, mrl_region* handle, std::shared_ptr<Region>* out) {
  std::shared_ptr<Region> made(new Region(context, std::move(spec), handle));
  Outcome o = made->set_up();
  if (!o.ok()) {
    made->give_up_lease();
    context.events().forget(handle);  // nobody knows that handle
    if (o.code != EOPNOTSUPP || !made->spec_.or_bounce) return o;
    made->let_go();
    RegionSpec second = std::move(made->spec_);
    second.choice = {MRL_BACKING_BOUNCE, false, o.text};
    second.or_bounce = false;
    return create(context, std::move(second), handle, out);
  }
  *out = std::move(made);
  return {};
}

Outcome Region::set_up() {
  std::lock_guard operation(operation_);  // a recall that comes at once waits until all is there
  const bool bounce = spec_.choice.backing == MRL_BACKING_BOUNCE;
  Outcome o = context_.use_device(verbs::context_of(spec_.pd), &registrations_.front().device, &registrations_.front().driver);
  if (!o.ok()) return o;
  if (!bounce) {
    layout_.base = spec_.adopted;
    o = map_file(layout_, 0, layout_.pages(), layout_.protection, spec_.adopted != nullptr, &layout_.base);
  }
  Reply granted;
  if (o.ok()) o = ask_daemon(connection(), false, &granted);
  if (o.ok() && bounce) o = map(granted);
  if (o.ok()) size_ = bytes_on_file(*this, granted.frame.granted().file_size());
  if (o.ok()) o = make_backing();
  if (o.ok()) o = make_mr(spec_.length);
  return o;
}

// A rule of the administrator may allow less than what was asked for.
void Region::keep_to(const wire::v1::Granted& granted) {
  const auto least = [](auto asked, auto allowed) { return allowed != 0 && (asked == 0 || asked > allowed) ? allowed : asked; };
  orphan_limits_ = {spec_.orphans.preserve && !granted.discard_orphans(), least(spec_.orphans.bytes_max, std::uint64_t{granted.orphan_bytes_max()})};
  orphan_keep_ = std::chrono::milliseconds(least(std::uint64_t(spec_.orphan_keep.count()), std::uint64_t{granted.orphan_keep_ms_max()}));
  peer_budget_ms_ = least(spec_.peer_budget_ms, granted.peer_budget_ms_max());
  if (backing_) backing_->set_peer_budget(peer_budget_ms_);
}

// From the grant on, and not before: a lease's number means something to the daemon that has given it, and a daemon that does
// not know the lease yet would answer a sync of what is not in the file.
Outcome Region::ask_daemon(const std::shared_ptr<Connection>& daemon, bool reclaim, Reply* granted) {
  const protocol::LeaseRequest request{{spec_.offset, spec_.length}, spec_.write,
                                       on_wire(spec_.choice),        spec_.share,
                                       spec_.orphans.preserve,       spec_.peer_budget_ms,
                                       reclaim,
                                       reclaim ? spec_.offset + size_ : 0};
  std::vector<int> fds{layout_.file};
  if (reclaim && spec_.choice.backing == MRL_BACKING_BOUNCE) fds.push_back(bounce_.get());
  Outcome o = daemon->call(protocol::register_lease(request), fds, wire::Frame::kGranted, granted,
                           [this, daemon](const wire::Frame& reply) {
                             if (!reply.has_granted()) return;
                             {
                               std::lock_guard lock(mutex_);
                               connection_ = daemon;
                             }
                             daemon_++;
                             lease_ = reply.granted().lease();
                             context_.add(lease_, weak_from_this());
                           });
  if (!o.ok()) return o;
  const auto& g = granted->frame.granted();
  if (g.backing() != on_wire(spec_.choice)) {
    return {EPROTO, "mrleased granted backing " + std::to_string(g.backing()) + " instead of " +
                        std::to_string(on_wire(spec_.choice))};
  }
  std::lock_guard lock(mutex_);
  keep_to(g);
  guard_name_ = protocol::guard_name(g.guard());
  coverage_ = g.coverage();
  return {};
}

std::shared_ptr<Connection> Region::connection() const {
  std::lock_guard lock(mutex_);
  return connection_;
}

// Bounce: the memfd that came with the grant, filled from the file.
Outcome Region::map(Reply& granted) {
  if (granted.fds.empty()) return {EPROTO, "mrleased granted a bounce lease without its memory"};
  struct stat memory {};
  if (::fstat(granted.fds[0].get(), &memory) != 0) return from_errno("fstat of the bounce memory");
  if (static_cast<std::uint64_t>(memory.st_size) < spec_.length) {
    return {EPROTO, "mrleased granted a bounce lease of " + std::to_string(spec_.length) + " bytes with " + std::to_string(memory.st_size) +
                        " bytes of memory"};
  }
  const int fixed = spec_.adopted != nullptr ? MAP_FIXED : 0;
  void* got = ::mmap(spec_.adopted, layout_.length, layout_.protection, MAP_SHARED | fixed, granted.fds[0].get(), 0);
  if (got == MAP_FAILED) return from_errno("mmap of the bounce memory");
  layout_.base = static_cast<char*>(got);
  bounce_ = std::move(granted.fds[0]);
  return ::madvise(got, layout_.length, MADV_DONTFORK) == 0 ? Outcome{} : from_errno("madvise(MADV_DONTFORK)");
}

Outcome Region::make_backing() {
  switch (spec_.choice.backing) {
    case MRL_BACKING_DIRECT:
      backing_ = make_direct(*this);
      return {};
    case MRL_BACKING_ODP_COOPERATIVE:
      backing_ = make_cooperative(*this);
      return {};
    case MRL_BACKING_ODP:
      return make_transparent(*this, *context_.resolver(), peer_budget_ms_, &backing_);
    default:
      backing_ = make_bounce(*this);
      return {};
  }
}

Outcome Region::tell_daemon(const Registration& one) {
  const auto address = reinterpret_cast<std::uint64_t>(layout_.base);
  return connection()->call(protocol::add_mr(lease_, {one.device, one.mr.handle, one.mr.lkey, one.mr.rkey, address, one.mr.length}), {},
                            wire::Frame::kStatus, nullptr);
}

Outcome Region::register_one(Registration& one, std::uint64_t bytes) {
  dropped_ = false;
  Outcome o = verbs::register_mr(one.pd, layout_.base, bytes, one.access, odp(), &one.mr);
  if (o.code == EFAULT && spec_.choice.backing == MRL_BACKING_DIRECT) {
    return {EOPNOTSUPP, o.text +
                            ": this kernel refuses to pin a file mapping for writing (6.5 and later); use ODP or "
                            "bounce backing"};
  }
  if (o.code == EOPNOTSUPP || o.code == EFAULT) o.text += "; use MRL_BACKING_BOUNCE";
  if (!o.ok()) return o;
  one.rkey = one.mr.rkey;
  o = tell_daemon(one);
  // Not told, so the daemon cannot have destroyed it: this handle is still ours. Without any daemon peers go on; one that has only
  // hung up protects the file for others, and has to know of it first.
  if (!o.ok() && !(o.code == ENOTCONN && generation_ > 0 && !context_.somebody_listens())) {
    (void)verbs::deregister_mr(std::exchange(one.mr, {}).mr);
    if (o.code == EKEYREVOKED) on_fenced(o.text);
    return o;
  }
  return {};
}

Outcome Region::make_mr(std::uint64_t bytes) {
  registered_bytes_ = bytes;
  for (Registration& one : registrations_) {
    Outcome o = register_one(one, bytes);
    if (o.ok()) continue;
    (void)drop_mr();  // all or none
    return o;
  }
  generation_++;
  now_all();
  return {};
}

void Region::now_all() {
  lkey_ = registrations_.front().mr.lkey;
  rkey_ = registrations_.front().mr.rkey;
  for (Registration& one : registrations_) one.now = one.mr.mr;
}

Outcome Region::drop_mr() {
  none_now();
  Outcome first;
  for (Registration& one : registrations_) {
    Outcome o = drop_one(one);
    if (first.ok()) first = o;
  }
  dropped_ = first.ok() && !left_behind_;
  return first;
}

void Region::none_now() {
  std::lock_guard lock(mutex_);
  for (Registration& one : registrations_) one.now = nullptr;
}

Outcome Region::drop_one(Registration& one) {
  if (one.mr.mr == nullptr) return {};
  const verbs::Mr dropped = one.mr;
  Outcome o;
  if (!fenced_) {
    o = connection()->call(protocol::remove_mr(lease_, one.device, dropped.handle), {}, wire::Frame::kStatus,
                                   nullptr);
  }
  one.mr = {};
  const bool ours = !fenced_ && (o.ok() || (o.code == ENOTCONN && verbs::still_ours(dropped.mr, one.driver)));
  if (!ours) {
    // The daemon destroyed it (or may do so any moment): the handle may be a stranger's by now. The provider's struct
    // is kept for ever; that is the price. ENOENT: the daemon does not know the lease any more.
    context_.leaked_mrs++;
    if (o.code == EKEYREVOKED || o.code == ENOENT) on_fenced(o.text);
    else left_behind_ = true;
    return o.code == ENOENT ? Outcome{EKEYREVOKED, o.text} : o;
  }
  const int code = verbs::deregister_mr(dropped.mr);
  if (code == 0) return {};
  if (!verbs::still_ours(dropped.mr, one.driver)) {  // its device was removed
    context_.leaked_mrs++;
    return {};
  }
  // It is there, and reaches the file: the daemon has to know it again, and nothing may end before it.
  one.mr = dropped;
  const Outcome told = tell_daemon(one);
  if (told.code == EKEYREVOKED) on_fenced(told.text);
  return {EBUSY, "ibv_dereg_mr: " + std::string(std::strerror(code)) + "; is a memory window bound to it? Deallocate that first"};
}

Outcome Region::add_mr(ibv_pd* pd, int access, unsigned* index) {
  std::lock_guard operation(operation_);
  if (fenced_ || gone_) return {EKEYREVOKED, "the region is fenced"};
  if (!registered()) return {EAGAIN, "the region is recalled; wait for MRL_EVENT_RESTORED"};
  std::list<Registration> more(1);
  Registration& one = more.front();
  one.pd = pd;
  one.access = access;
  Outcome o = context_.use_device(verbs::context_of(pd), &one.device, &one.driver);
  if (o.ok()) o = register_one(one, registrations_.front().mr.length);
  if (!o.ok()) return o;
  one.now = one.mr.mr;
  std::lock_guard lock(mutex_);
  *index = static_cast<unsigned>(registrations_.size());
  registrations_.splice(registrations_.end(), more);
  return {};
}

ibv_mr* Region::mr(unsigned index) const {
  std::lock_guard lock(mutex_);
  if (index >= registrations_.size()) return nullptr;
  return std::next(registrations_.begin(), index)->now;
}

std::vector<std::pair<const ibv_pd*, std::uint32_t>> Region::rkeys() const {
  std::lock_guard lock(mutex_);
  std::vector<std::pair<const ibv_pd*, std::uint32_t>> keys;
  for (const Registration& one : registrations_) keys.emplace_back(one.pd, one.rkey.load());
  return keys;
}

void Region::give_up_lease() {
  std::unique_lock operation(operation_);
  gone_ = true;
  closing_ = true;
  (void)drop_mr();
  operation.unlock();
  if (lease_ != 0) {
    (void)connection()->call(protocol::release(lease_), {}, wire::Frame::kStatus, nullptr);
    context_.remove(lease_, this);
  }
}

Outcome Region::dereg() {
  closing_ = true;  // whoever waits for the application goes on: it has stopped, or it would not be here
  {
    std::lock_guard lock(mutex_);
    answered_.notify_all();
  }
  guard_.wake();
  Outcome dropped, released;
  {
    std::lock_guard operation(operation_);
    dropped = drop_mr();
    if (dropped.code == EBUSY && !fenced_) {  // it goes on as it was
      closing_ = false;
      now_all();
      return dropped;
    }
    if (fenced_) {
      backing_->restore();
    } else if (!connection()->alive()) {
      released = backing_->merge_locally();
    } else {
      backing_->surrender();
    }
    gone_ = true;
  }
  // Not under the lock: a recall that the daemon sends before it looks at this is answered at once.
  Outcome told = connection()->call(protocol::release(lease_), {}, wire::Frame::kStatus, nullptr);
  if (told.code == ENOTCONN && released.ok() && !fenced_) {  // gone before it has written what is owed, perhaps
    std::lock_guard operation(operation_);
    released = backing_->merge_locally();
  }
  // EKEYREVOKED, ENOENT: it ended while this was under way; the daemon has written what was owed.
  if (told.code != ENOTCONN && told.code != EKEYREVOKED && told.code != ENOENT) released = told;
  if (released.code == EBUSY) released.code = EPROTO;  // EBUSY says that it is still there
  context_.remove(lease_, this);
  context_.events().forget(handle_);
  {
    std::lock_guard operation(operation_);
    backing_.reset();
    unmap();
  }
  if (dropped.code == EKEYREVOKED || fenced_) dropped = {};  // that it was fenced, FENCED has told
  return released.ok() ? dropped : released;
}

Outcome Region::sync(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t end = spec_.offset + spec_.length;
  if (offset < spec_.offset || offset > end || length > end - offset) {
    return {EINVAL, "[" + std::to_string(offset) + ", +" + std::to_string(length) + ") is not inside the region's [" +
                        std::to_string(spec_.offset) + ", " + std::to_string(end) + ")"};
  }
  if (length == 0) length = end - offset;
  if (length == 0) return {};
  for (;;) {
    const auto asked = connection();
    Outcome o = asked->call(protocol::sync_file({offset, length}), {layout_.file}, wire::Frame::kStatus, nullptr);
    if (o.code != ENOTCONN) return o;
    std::lock_guard operation(operation_);
    if (connection() == asked) return finish_without_daemon();
  }  // another daemon has taken the lease over meanwhile: it is the one to ask
}

// What RDMA wrote goes to the disk from here. Under operation_.
Outcome Region::finish_without_daemon() {
  if (spec_.choice.backing == MRL_BACKING_DIRECT) {
    RecallOrder order;
    order.recall.set_action(wire::v1::ACTION_DIRTY);
    Outcome dirty = backing_->comply(std::move(order));
    if (!dirty.ok()) return dirty;
  } else {
    Outcome merged = backing_->merge_locally();
    if (!merged.ok()) return merged;
  }
  return ::fsync(layout_.file) == 0 ? Outcome{} : from_errno("fsync of the leased file");
}

struct Region::TakingBack {
  std::uint64_t file_size;
  TakeBack how;
  std::uint64_t recalls, daemon;  // when it began
  std::shared_ptr<std::promise<Outcome>> done;
};

// The answer takes effect on the recalls' own thread, in the order in which the daemon sent it and them.
Outcome Region::extend(TakeBack how, std::uint64_t* size) {
  if (!spec_.write || !odp()) how = TakeBack::Discard;  // it has written nothing, and may not; there are none
  if (how == TakeBack::Reattach && !context_.merges_orphans())
    return {EOPNOTSUPP, "the daemon that runs now is too old to put back what was cut off; update it, or save it elsewhere and mrl_extend()"};
  auto done = std::make_shared<std::promise<Outcome>>();
  auto applied = done->get_future();
  auto self = shared_from_this();
  Outcome o = connection()->call(
      protocol::extend(lease_), {}, wire::Frame::kExtended, nullptr, [self, done, how](const wire::Frame& reply) {
        if (!reply.has_extended()) return;
        self->lane(wire::v1::ACTION_SETTLE).post([self, done, how, file_size = reply.extended().file_size(), daemon = self->daemon_.load()] {
          self->take_back({file_size, how, self->recalls_, daemon, done});
        });
      });
  done.reset();
  if (!o.ok()) return o;
  try {
    o = applied.get();
  } catch (const std::future_error&) {  // the context is being closed
    return {ENOTCONN, "the connection was closed"};
  }
  if (o.ok() && size != nullptr) *size = size_;
  return o;
}

// On the recalls' own thread, a piece at a time: recalls that have come meanwhile are served in between.
void Region::take_back(TakingBack what) {
  Outcome o;
  {
    std::lock_guard operation(operation_);
    if (gone_ || fenced_) {
      o = {EKEYREVOKED, "the lease was lost meanwhile"};
    } else if (recalls_ != what.recalls || daemon_ != what.daemon) {  // the file may be another by now
      o = {EAGAIN, "the region was recalled meanwhile, and only a part of it is on the file again: call again"};
    } else {
      o = backing_->extend(what.file_size, what.how);
      look_at_stats();
    }
    if (o.code == EINPROGRESS) reattaching_ = true;
    if (o.ok()) reattaching_ = false;
  }
  if (o.code != EINPROGRESS) return what.done->set_value(o);
  lane(wire::v1::ACTION_SETTLE).post([self = shared_from_this(), what = std::move(what)] { self->take_back(what); });
}

// Under operation_.
void Region::look_at_stats() {
  std::lock_guard lock(mutex_);
  stats_ = backing_->stats();
}

void Region::info(mrl_info* out) {
  mrl_info i{};
  i.struct_size = sizeof i;
  i.backing = odp() ? MRL_BACKING_ODP : spec_.choice.backing;
  i.transparent = spec_.choice.transparent ? 1 : 0;
  i.fenced = fenced_ ? 1 : 0;
  i.size = size_;
  i.generation = generation_;
  i.recalls = recalls_;
  std::lock_guard lock(mutex_);
  i.freezes = stats_.freezes;
  i.pages_merged = stats_.pages_merged;
  i.stall_us_max = stats_.stall_us_max;
  i.bytes_cut_off = bytes_cut_off_;
  i.orphan_bytes_kept = stats_.orphans.kept;
  i.orphan_bytes_discarded = stats_.orphans.discarded;
  i.orphan_bytes_reattached = stats_.orphans.reattached;
  copy_text(i.backing_reason, sizeof i.backing_reason, spec_.choice.reason);
  copy_text(i.guard, sizeof i.guard, guard_name_);
  copy_text(i.coverage, sizeof i.coverage, coverage_);
  const std::size_t asked = out->struct_size;  // an older caller knows fewer fields
  i.struct_size = asked;
  std::memcpy(out, &i, std::min(asked, sizeof i));
}

}  // namespace mrlease::client
