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
  Outcome o = context_.use_device(verbs::context_of(spec_.pd), &device_, &device_driver_);
  Reply granted;
  if (o.ok()) o = ask_daemon(fresh, knows_reclaim, &granted);
  taken_ = o.code == EBUSY;
  // A daemon that has only hung up on us has destroyed what we had.
  if (o.ok() && mr_.mr != nullptr && !verbs::still_ours(mr_.mr, device_driver_)) {
    o = {EKEYREVOKED, "the daemon before has destroyed the memory region"};
  }
  return o.ok() ? reclaim_mr(granted.frame.granted().file_size()) : o;
}

Outcome Region::reclaim_mr(std::uint64_t file_size) {
  const bool direct = spec_.choice.backing == MRL_BACKING_DIRECT;
  Outcome o;
  // Pages that the file has lost stay pinned, and nobody would see what is written to them.
  if (direct && mr_.mr != nullptr && bytes_on_file(*this, file_size) < size_) {
    o = quiesce(own_order(wire::v1::REASON_TRUNCATE));
    if (o.ok()) o = deregister();
  }
  if (o.ok() && mr_.mr == nullptr && direct) return backing_->extend(file_size);
  if (o.ok() && mr_.mr != nullptr) {
    const auto address = reinterpret_cast<std::uint64_t>(layout_.base);
    o = connection()->call(
        protocol::add_mr(lease_, {device_, mr_.handle, mr_.lkey, mr_.rkey, address, mr_.length}), {},
        wire::Frame::kStatus, nullptr);
  }
  if (!o.ok()) return o;
  set_file_size(file_size);
  if (quiesced_) restored(spec_.choice.backing);  // the daemon that would have ended that is gone
  return {};
}

// No daemon knows the memory region.
Outcome Region::deregister() {
  mr_now_ = nullptr;
  const verbs::Mr dropped = std::exchange(mr_, {});
  const int code = verbs::deregister_mr(dropped.mr);
  return code == 0 ? Outcome{} : Outcome{ENOTRECOVERABLE, "ibv_dereg_mr: " + std::string(std::strerror(code))};
}

// EAGAIN: its data is not in the file yet; call again.
Outcome Region::lose(const Outcome& why) {
  if (mr_.mr != nullptr && verbs::still_ours(mr_.mr, device_driver_)) (void)deregister();
  // Somebody else has the range by now, and what that one was promised counts more.
  const Outcome merged = taken_ ? Outcome{EBUSY, "the range is somebody else's"} : backing_->merge_locally();
  if (may_pass(merged)) {
    lost_ = why;
    return {EAGAIN, merged.text};
  }
  on_fenced("the lease could not be reclaimed from the daemon that runs now: " + why.text +
            (merged.ok() ? "" : "; what was not in the file yet is lost: " + merged.text));
  return {};
}

}  // namespace mrlease::client
