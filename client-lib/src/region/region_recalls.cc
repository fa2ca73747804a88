// SPDX-License-Identifier: Apache-2.0
// What the daemon asks of a region, and what the region asks of the application.
#include <algorithm>

#include "client-lib/src/protocol/frames.h"
#include "client-lib/src/region/region.h"

namespace mrlease::client {
namespace {
using Clock = std::chrono::steady_clock;
}

Lane& Region::lane(wire::v1::Action action) {
  const bool asks = action == wire::v1::ACTION_RELEASE || spec_.choice.backing == MRL_BACKING_DIRECT ||
                    spec_.choice.backing == MRL_BACKING_ODP_COOPERATIVE;
  return asks ? context_.asking_lane() : context_.quiet_lane();
}

void Region::on_recall(wire::v1::Recall recall, wire::Fd store) {
  const auto action = recall.action();
  auto order = std::make_shared<RecallOrder>();
  order->deadline = Clock::now() + std::chrono::milliseconds(recall.deadline_ms());
  order->recall = std::move(recall);
  order->store = std::move(store);
  order->daemon = daemon_;
  order->daemons = daemons();
  lane(action).post([self = shared_from_this(), order] { self->serve(std::move(*order)); });
}

void Region::serve(RecallOrder order) {
  recalls_++;
  const std::uint64_t id = order.recall.recall();
  const auto action = order.recall.action();
  Outcome o;
  bool deregistered = false;
  std::shared_ptr<Connection> asked_by;
  {
    std::lock_guard operation(operation_);
    if (order.daemon != daemon_) return;  // it is gone, and so is what it wanted
    // A successor asks for it again, from when it took over: the time that went by without a daemon does not count.
    if (order.daemons != daemons()) order.deadline = took_over() + std::chrono::milliseconds(order.recall.deadline_ms());
    asked_by = connection();
    // Deregistered: nothing is reachable. But what lies in a store is in the file only when the daemon has brought it there,
    // and it takes a yes for that.
    const bool ends_store = action == wire::v1::ACTION_THAW || action == wire::v1::ACTION_SETTLE;
    if (gone_ && ends_store) o = {ECANCELED, "the region was deregistered: its store is the daemon's to merge"};
    const std::uint64_t orphans_before = backing_ ? backing_->first_orphan() : 0;
    const bool quiet_before = quiesced_;  // by another order, which holds
    const bool again = given_up_ && action == wire::v1::ACTION_RELEASE;  // by a successor: there is nothing left to do
    if (!gone_ && !again) o = fenced_ ? Outcome{EKEYREVOKED, "the lease is fenced"} : comply(order);
    if (!gone_ && !o.ok() && !quiet_before && !ends_store && action != wire::v1::ACTION_REREGISTER) go_on();
    deregistered = !o.ok() && dropped_;
    if (backing_) {
      look_at_stats();
      if (backing_->first_orphan() < orphans_before) discard_later();
      std::lock_guard lock(mutex_);
      const bool of_file = ends_store && (o.code == ENOSPC || o.code == EDQUOT || o.code == EROFS || o.code == EIO);
      unmerged_ = of_file ? o.text : "";
    }
  }
  (void)asked_by->send(protocol::recall_done(id, o, deregistered));
  if (o.code == EKEYREVOKED) on_fenced(o.text);
  if (!o.ok() || action != wire::v1::ACTION_RELEASE) return;
  on_fenced("revoked");
  if (daemons() != order.daemons) release_given_up();  // Resume had come before the answer was on its way
}

// When the time of what was cut off by now is over.
void Region::discard_later() {
  if (orphan_keep_.count() == 0) return;
  const auto now = Clock::now();
  lane(wire::v1::ACTION_SETTLE).post_at(now + orphan_keep_, [weak = weak_from_this(), cut_before = now] {
    const auto self = weak.lock();
    if (!self) return;
    std::lock_guard operation(self->operation_);
    // A part is in the file, and the rest would be nowhere: what is not reattached yet is given its time once more.
    if (std::exchange(self->reattaching_, false)) return self->discard_later();
    if (!self->backing_) return;
    self->backing_->discard_orphans(cut_before);
    self->look_at_stats();
  });
}

// A successor knows nothing of the recall that was obeyed, and would keep the lease. Nobody waits for its answer: it may be frozen.
void Region::release_given_up() {
  if (given_up_) (void)connection()->send(protocol::release(lease_));
}

Outcome Region::comply(RecallOrder& order) {
  Outcome o = protocol::check_recall(order.recall);
  if (!o.ok()) return o;
  if (order.recall.action() != wire::v1::ACTION_RELEASE) return backing_->comply(std::move(order));
  o = quiesce(order);
  if (o.ok()) o = drop_mr();
  // Without a daemon nobody else would write what is owed.
  if (o.ok() && !connection()->alive()) return backing_->merge_locally();
  if (!o.ok()) return o;
  backing_->surrender();
  given_up_ = true;
  return {};
}

// Before the operation, and refused: where policy denies it then, the lease lives on and nobody says anything more. So who was asked to be
// quiet is told to go on, with all memory regions as they were. Where policy does not, FENCED follows.
void Region::go_on() {
  if (!quiesced_ || fenced_ || !connection()->alive()) return;  // without the daemon, reclaiming the lease decides
  bool again = false;
  for (Registration& one : registrations_) {
    if (one.mr.mr != nullptr) continue;
    again = true;
    if (register_one(one, registered_bytes_).ok()) continue;
    (void)drop_mr();  // all or none
    return;
  }
  if (again) generation_++;
  now_all();
  restored(spec_.choice.backing);
}

Outcome Region::quiesce(const RecallOrder& order) {
  quiesced_ = true;
  guard_.close();
  // The application's share ends before the recall's, so that there is time left to comply.
  // Of this recall: the daemon may have been given another deadline since it told us its own (mrleasectl reload).
  const std::uint32_t share_ms = order.recall.deadline_ms() / 4 * 3;
  auto until = order.deadline;
  if (context_.callback_deadline_ms() > 0) {
    until = std::min(until, Clock::now() + std::chrono::milliseconds(std::min(context_.callback_deadline_ms(), share_ms)));
  }
  Outcome o = ask_application(order, until);
  if (!o.ok()) return o;
  if (!guard_.wait_drained(until, [this] { return stop_waiting(); })) {
    return {ETIMEDOUT, "the application is still between mrl_enter() and mrl_leave()"};
  }
  return fenced_ ? Outcome{EKEYREVOKED, "fenced while the application was asked"} : Outcome{};
}

Outcome Region::ask_application(const RecallOrder& order, Deadline until) {
  if (!context_.events().has_callback() || closing_) return {};
  const wire::v1::Recall& r = order.recall;
  {
    std::lock_guard lock(mutex_);
    asked_recall_ = r.recall();
    answer_ = -1;
  }
  Event e = event(MRL_EVENT_RECALL);
  e.data.recall = r.recall();
  e.data.reason = static_cast<mrl_reason>(r.reason());
  e.data.offset = r.offset();
  e.data.length = r.length();
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
  e.data.deadline_ms = static_cast<std::uint32_t>(std::max<std::int64_t>(0, left));
  e.answered = [weak = weak_from_this(), id = r.recall()](int code) {
    auto self = weak.lock();
    if (self && code != EINPROGRESS) self->application_answered(id, code);
  };
  push(std::move(e));
  std::unique_lock lock(mutex_);
  const bool came = answered_.wait_until(lock, until, [&] { return answer_ >= 0 || stop_waiting(); });
  const int code = answer_;
  asked_recall_ = 0;
  if (closing_) return {};
  if (fenced_) return {EKEYREVOKED, "fenced while the application was asked"};
  if (!came) return {ETIMEDOUT, "the application has not answered the recall in time"};
  // Not its code: nobody is to take that for an error of the file or of the daemon.
  if (code > 0) return {ECANCELED, "the application refused the recall: " + std::string(std::strerror(code))};
  return {};
}

void Region::application_answered(std::uint64_t recall, int code) {
  std::lock_guard lock(mutex_);
  if (asked_recall_ != recall || answer_ >= 0) return;
  answer_ = std::max(0, code);
  answered_.notify_all();
}

Outcome Region::complied(std::uint64_t recall) {
  std::lock_guard lock(mutex_);
  if (recall == 0 || asked_recall_ != recall || answer_ >= 0) {
    return {EINVAL, "no recall " + std::to_string(recall) + " waits for an answer; perhaps its deadline has passed"};
  }
  answer_ = 0;
  answered_.notify_all();
  return {};
}

Outcome Region::merge(const Store& store, const std::vector<protocol::FileRange>& ranges) {
  std::vector<wire::Frame> frames = protocol::merges(lease_, store.id, ranges);
  std::vector<int> fds;
  if (store.forgotten) {
    frames = protocol::of_orphans(std::move(frames), store.begin);
    fds.push_back(store.memfd.get());
  }
  for (const wire::Frame& frame : frames) {
    if (fenced_) return {EKEYREVOKED, "the lease is fenced"};
    // An older daemon may have taken over between two.
    if (store.forgotten && !context_.merges_orphans()) return {EOPNOTSUPP, "mrleased is older than this library"};
    Outcome o = connection()->call(frame, fds, wire::Frame::kStatus, nullptr);
    // Something is going on by now of which the recall is on its way.
    if (store.forgotten && (o.code == EBUSY || o.code == ERANGE)) return {EAGAIN, o.text + "; call again"};
    // Of orphans nothing is owed: another daemon will be there, or somebody else has the range.
    if (o.code == ENOTCONN) return store.forgotten ? o : write_back_store(layout_.file, store, ranges);
    if (!o.ok()) return o;
  }
  return {};
}

void Region::restored(mrl_backing now) {
  quiesced_ = false;
  guard_.open();
  Event e = event(MRL_EVENT_RESTORED);
  e.data.backing = now;
  push(std::move(e));
}

void Region::set_file_size(std::uint64_t file_size) {
  const std::uint64_t size = bytes_on_file(*this, file_size);
  const std::uint64_t before = size_.exchange(size);
  if (before <= size) return;
  bytes_cut_off_ += before - size;
  push(event(MRL_EVENT_TRIMMED));
}

Event Region::event(mrl_event_type type) const {
  Event e;
  e.data.type = type;
  e.data.region = handle_;
  e.data.offset = spec_.offset;
  e.data.length = spec_.length;
  e.data.size = size_;
  e.data.backing = spec_.choice.backing;
  e.data.lkey = lkey_;
  e.data.rkey = rkey_;
  e.data.generation = generation_;
  return e;
}

void Region::push(Event e) {
  if (!closing_) context_.events().push(std::move(e));
}

void Region::on_fenced(const std::string& why) {
  if (fenced_.exchange(true)) return;
  none_now();
  guard_.revoke();
  Event e = event(MRL_EVENT_FENCED);
  e.message = why;
  bool kept;
  {
    std::lock_guard lock(mutex_);
    answered_.notify_all();
    kept = !unmerged_.empty();
    if (kept) e.message = unmerged_ + "; what was written to the frozen range is in the mapping, and not all of it in the file";
  }
  if (!kept) push(e);
  lane(wire::v1::ACTION_NONE).post([self = shared_from_this(), e = std::move(e), kept] {
    self->restore_mapping();
    if (kept) self->push(e);  // who is told looks there
  });
}

void Region::restore_mapping() {
  std::lock_guard operation(operation_);
  if (gone_ || !backing_) return;
  (void)drop_mr();
  backing_->restore();
}

void Region::on_trimmed(std::uint64_t file_size) { set_file_size(file_size); }

// Frozen pages cannot be thawed by the daemon any more.
void Region::on_disconnected() {
  if (spec_.choice.backing != MRL_BACKING_ODP) return;  // others keep what they hold until mrl_sync or mrl_dereg
  context_.quiet_lane().post([self = shared_from_this()] {
    std::lock_guard operation(self->operation_);
    if (!self->gone_ && !self->fenced_ && self->backing_) (void)self->backing_->merge_locally();
  });
}

}  // namespace mrlease::client
