// SPDX-License-Identifier: Apache-2.0
// A region whose daemon is gone, and another one.
#include <algorithm>
#include <cstring>

#include "client-lib/src/protocol/frames.h"
#include "client-lib/src/region/region.h"

namespace mrlease::client {
namespace {

// Not a number of any daemon's: they count from 1.
constexpr std::uint64_t kOwnRecall = std::uint64_t{1} << 63;

bool for_now(const Outcome& o) { return o.code == ENOTCONN || o.code == EAGAIN; }

// Of writing to the file: nothing is lost as long as it is tried again.
bool may_pass(const Outcome& o) {
  return o.code == ENOSPC || o.code == EDQUOT || o.code == EIO || o.code == ENOMEM || o.code == EINTR;
}

}  // namespace

// What the application is asked by when nobody has recalled anything.
RecallOrder Region::own_order(wire::v1::Reason reason) const {
  RecallOrder order;
  order.recall.set_action(wire::v1::ACTION_QUIESCE);
  order.recall.set_reason(reason);
  order.recall.set_recall(kOwnRecall + daemon_);
  order.recall.set_offset(spec_.offset);
  order.recall.set_length(spec_.length);
  order.recall.set_deadline_ms(context_.callback_deadline_ms() / 3 * 4);
  order.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(order.recall.deadline_ms());
  return order;
}

Outcome Region::reclaim(const std::shared_ptr<Connection>& fresh, bool knows_reclaim) {
  std::lock_guard operation(operation_);
  if (gone_ || fenced_ || closing_) return {};
  if (!lost_.ok()) return lose(lost_);
  // By the old connection, which says ENOTCONN to everything.
  Outcome o = backing_->come_back(own_order(wire::v1::REASON_FREEZE));
  if (may_pass(o)) return {EAGAIN, o.text};
  if (o.ok()) o = reclaim_lease(fresh, knows_reclaim);
  return o.ok() || for_now(o) ? o : lose(o);
}

Outcome Region::reclaim_lease(const std::shared_ptr<Connection>& fresh, bool knows_reclaim) {
  if (!knows_reclaim && spec_.choice.backing == MRL_BACKING_BOUNCE) {
    return {EPROTO, "the daemon that runs now is older than the one before and cannot take bounce pages over"};
  }
  if (!registered() && spec_.choice.backing != MRL_BACKING_DIRECT) {
    return {EKEYREVOKED, "its memory region was to be given up when the daemon before went"};  // and is never registered again
  }
  Outcome o;
  for (Registration& one : registrations_)
    if (o.ok()) o = context_.use_device(verbs::context_of(one.pd), &one.device, &one.driver);
  Reply granted;
  if (o.ok()) o = ask_daemon(fresh, knows_reclaim, &granted);
  taken_ = o.code == EBUSY;
  // A daemon that has only hung up on us has destroyed what we had.
  for (const Registration& one : registrations_)
    if (o.ok() && one.mr.mr != nullptr && !verbs::still_ours(one.mr.mr, one.driver))
      o = {EKEYREVOKED, "the daemon before has destroyed the memory region"};
  return o.ok() ? reclaim_mr(granted.frame.granted().file_size()) : o;
}

Outcome Region::reclaim_mr(std::uint64_t file_size) {
  const bool direct = spec_.choice.backing == MRL_BACKING_DIRECT;
  Outcome o;
  // Pages that the file has lost stay pinned, and nobody would see what is written to them.
  if (direct && registered() && bytes_on_file(*this, file_size) < size_) {
    o = quiesce(own_order(wire::v1::REASON_TRUNCATE));
    if (o.ok()) o = deregister();
  }
  if (o.ok() && !registered() && direct) return backing_->extend(file_size, TakeBack::Discard);
  for (const Registration& one : registrations_)
    if (o.ok() && one.mr.mr != nullptr) o = tell_daemon(one);
  if (!o.ok()) return o;
  set_file_size(std::min(file_size, backing_->first_orphan()));
  if (quiesced_) restored(spec_.choice.backing);  // the daemon that would have ended that is gone
  return {};
}

// No daemon knows the memory regions. Those that are not ours any more are left alone.
Outcome Region::deregister() {
  none_now();
  int code = 0;
  for (Registration& one : registrations_) {
    const verbs::Mr dropped = std::exchange(one.mr, {});
    if (dropped.mr == nullptr || !verbs::still_ours(dropped.mr, one.driver)) continue;
    const int of_one = verbs::deregister_mr(dropped.mr);
    if (code == 0) code = of_one;
  }
  return code == 0 ? Outcome{} : Outcome{ENOTRECOVERABLE, "ibv_dereg_mr: " + std::string(std::strerror(code))};
}

// EAGAIN: its data is not in the file yet; call again.
Outcome Region::lose(const Outcome& why) {
  // A daemon that has granted it, and was told of some of them.
  for (const Registration& one : registrations_)
    if (one.mr.mr != nullptr) (void)connection()->call(protocol::remove_mr(lease_, one.device, one.mr.handle), {}, wire::Frame::kStatus, nullptr);
  (void)deregister();
  const std::string lost = "the lease could not be reclaimed from the daemon that runs now: " + why.text;
  // A daemon that has granted it has its bounce pages as well, and has written them when it answers. Here a write might be held behind whoever
  // has the lease recalled, and wait for us.
  if (!taken_ && spec_.choice.backing == MRL_BACKING_BOUNCE &&
      connection()->call(protocol::release(lease_), {}, wire::Frame::kStatus, nullptr).ok()) {
    on_fenced(lost);
    return {};
  }
  // Somebody else has the range by now, and what that one was promised counts more.
  const Outcome merged = taken_ ? Outcome{EBUSY, "the range is somebody else's"} : backing_->merge_locally();
  if (may_pass(merged)) {
    lost_ = why;
    return {EAGAIN, merged.text};
  }
  // Else it would be recalled, and its client be killed for what it cannot answer.
  (void)connection()->call(protocol::release(lease_), {}, wire::Frame::kStatus, nullptr);
  on_fenced(lost + (merged.ok() ? "" : "; what was not in the file yet is lost: " + merged.text));
  return {};
}

}  // namespace mrlease::client
