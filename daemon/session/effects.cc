// SPDX-License-Identifier: Apache-2.0
// The arbiter's effects, carried out.
#include <sys/stat.h>

#include <cstring>

#include "daemon/session/broker.h"
#include "daemon/session/translate.h"

namespace mrlease::session {

namespace v1 = wire::v1;
namespace effect = core::effect;
using wire::Frame;

// Effects may cause events: these wait until the present ones are carried out.
void Broker::step(core::Event event) {
  events_.push_back(std::move(event));
  if (stepping_) return;
  stepping_ = true;
  glances_ = 0;
  while (!events_.empty()) {
    const core::Event next = std::move(events_.front());
    events_.pop_front();
    handle(next);
  }
  stepping_ = false;
  arm_timer();
}

void Broker::handle(const core::Event& event) {
  core::Effects effects = arbiter_.step(event, now());
  passing_.clear();
  for (const auto& e : effects)
    if (const auto* w = std::get_if<effect::WatchPassing>(&e)) passing_.insert(w->id);
  collect_touched(event, effects);
  // The guard learns first: a client must not hold a lease that the guard would let operations through for.
  for (const auto& file : touched_) publish(file);
  for (const auto& e : effects) std::visit([this](const auto& x) { apply(x); }, e);
  chronicle_.saw(event, std::move(effects));  // last: somebody waits for the answers
}

void Broker::collect_touched(const core::Event& event, const core::Effects& effects) {
  touched_.clear();
  const auto by_lease = [this](core::LeaseId id) {
    if (const auto lease = find_lease(id)) touched_.insert(lease->file);
  };
  const auto by_break = [this](core::BreakId id) {
    if (const auto it = guard_breaks_.find(id); it != guard_breaks_.end()) touched_.insert(it->second);
    if (const auto it = api_breaks_.find(id); it != api_breaks_.end()) touched_.insert(it->second.file);
  };
  if (const auto* r = std::get_if<core::event::RequestBreak>(&event)) touched_.insert(r->file);
  for (const auto& e : effects) {
    if (const auto* granted = std::get_if<effect::Granted>(&e)) by_lease(granted->lease);
    if (const auto* released = std::get_if<effect::Released>(&e)) by_lease(released->lease);
    if (const auto* forget = std::get_if<effect::Forget>(&e)) by_lease(forget->lease);
    if (const auto* fenced = std::get_if<effect::Fenced>(&e)) by_lease(fenced->lease);
    if (const auto* done = std::get_if<effect::BreakDone>(&e)) by_break(done->id);
    if (const auto* thawed = std::get_if<effect::Thawed>(&e)) by_break(thawed->freeze);
  }
}

void Broker::publish(const core::FileKey& file) {
  const auto it = files_.find(file);
  if (it == files_.end()) return;
  const core::Needs needs = arbiter_.needs(file);
  if (needs == it->second.published) return;
  it->second.published = needs;
  guard_->publish(file, needs);
}

void Broker::arm_timer() {
  if (stopping_) return;  // the timer is stop()'s
  const core::Time next = arbiter_.next_deadline();
  if (next == core::kNever) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(std::chrono::steady_clock::time_point(std::chrono::milliseconds(next)));
  timer_.async_wait([this](const asio::error_code& error) {
    if (!error) step(core::event::Tick{});
  });
}

void Broker::apply(const effect::Granted& e) {
  requests_.erase(e.request);
  const auto lease = find_lease(e.lease);
  if (!lease) return;
  // The file may have shrunk between the check and the guard's watch.
  const bool nothing_left = lease->reclaimed && lease->size_told <= std::max<std::uint64_t>(lease->extent.begin, 1);
  if (file_size(lease->file) < lease->size_told && !nothing_left) {
    reply_status(lease->session, lease->request, lease->reclaimed ? EAGAIN : ERANGE, "the file was truncated meanwhile");
    return step(core::event::ReleaseLease{0, lease->id, lease->session});
  }
  if (lease->backing == core::Backing::Bounce) return grant_bounce(*lease);
  keep_lease(lease, [this, lease] { send_granted(*lease); });
}

void Broker::send_granted(const LeaseHold& lease) {
  Session* s = find_session(lease.session);
  if (s == nullptr) return;
  const auto file = files_.find(lease.file);
  Frame answer;
  v1::Granted& g = *answer.mutable_granted();
  limit(lease.limits, &g);
  g.set_lease(lease.id);
  g.set_backing(to_wire(lease.backing));
  if (file != files_.end()) {
    g.set_guard(to_wire(file->second.coverage.kind));
    g.set_coverage(file->second.coverage.text);
  }
  const std::uint64_t size = file_size(lease.file);
  g.set_file_size(lease.reclaimed ? std::min({size, lease.size_told, lease.end_reclaimed}) : size);
  std::vector<fence::SharedFd> fds;
  if (lease.bounce) fds.emplace_back(::dup(lease.bounce->memfd()));
  reply(*s, lease.request, std::move(answer), std::move(fds));
  log_(1, "lease " + std::to_string(lease.id) + " granted to " + s->program + ": " + name(lease.backing) + ", [" +
              std::to_string(lease.extent.begin) + ", " + std::to_string(lease.extent.end) + ")");
}

void Broker::apply(const effect::Refused& e) {
  const auto it = requests_.find(e.request);
  if (it == requests_.end()) return;
  const PendingRequest pending = it->second;
  requests_.erase(it);
  reply_status(pending.session, pending.request, e.code, e.message);
  if (pending.lease != 0) drop_lease(pending.lease);
}

void Broker::apply(const effect::Released& e) {
  if (const auto it = requests_.find(e.request); it != requests_.end()) {
    reply_status(it->second.session, it->second.request, e.code, e.code == 0 ? "" : std::strerror(e.code));
    requests_.erase(it);
  }
  drop_lease(e.lease);
}

void Broker::apply(const effect::Extended& e) {
  const auto it = requests_.find(e.request);
  const auto lease = find_lease(e.lease);
  if (it == requests_.end() || !lease) return;
  const PendingRequest pending = it->second;
  requests_.erase(it);
  tell_size(*lease, told_extended(lease->size_told, lease->extent, e.file_size));
  const auto answer = [this, pending, size = e.file_size] {
    Session* s = find_session(pending.session);
    if (s == nullptr) return;
    Frame frame;
    frame.mutable_extended()->set_file_size(size);
    reply(*s, pending.request, std::move(frame));
  };
  if (!lease->bounce) return answer();
  auto result = std::make_shared<store::Bounce::Result>();
  in_worker([bounce = lease->bounce, size = e.file_size, result] { *result = bounce->extend(size); },
            [this, result, pending, answer] {
              if (result->code == 0) return answer();
              reply_status(pending.session, pending.request, result->code, "taking the file's pages back: " + result->text);
            });
}

void Broker::apply(const effect::Recall& e) {
  const auto lease = find_lease(e.lease);
  if (!lease) return;
  // Whose clients leave that many unanswered waits no longer for this one.
  if (const Verdict v = check_room_of(lease->user, {.recalls = 1}); v.code != 0) {
    log_(2, "lease " + std::to_string(e.lease) + " is not recalled: " + v.message);
    return step(core::event::RecallAnswered{e.recall, e.session, v.code});
  }
  recalls_[e.recall] = {e.lease, e.action, 0, accounts_.charge(lease->user, {.recalls = 1})};
  lease->recalls.insert(e.recall);
  if (auto* kept = record(*lease); kept != nullptr && e.action == core::Action::Quiesce) kept->quiesced = 1;
  if (e.action == core::Action::Freeze || e.action == core::Action::Trim) return make_store(e, lease);
  Store* store = store_to_end(lease->stores, e.action, e.extent.begin);
  if (store != nullptr) {
    store->ending = true;
    if (store->slot != keep::kNoSlot) kept_.state->stores.at(store->slot).ended_by = e.recall;
  }
  send_recall(e, *lease, store);
}

void Broker::apply(const effect::StartFence& e) {
  const auto lease = find_lease(e.lease);
  if (!lease) return step(core::event::FenceDone{e.lease, true});
  Session* s = find_session(e.session);
  if (!lease->destroyed)
    log_(2, "fencing lease " + std::to_string(e.lease) + " of " + (s != nullptr ? s->program : "a client that is gone") +
                (e.kill ? " by SIGKILL" : ""));
  if (auto* kept = record(*lease); kept != nullptr && !lease->destroyed) kept->fenced = keep::LeaseRecord::kFenceOrdered;
  fence_lease(lease, e.kill, [this, lease](bool ok) {
    rescue_trimmed({lease}, [this, lease, ok] { step(core::event::FenceDone{lease->id, ok}); });
  });
}

void Broker::apply(const effect::BreakAnswered& e) {
  if (guard_breaks_.count(e.id) != 0) {
    // A break of our own making (observed late) is not known to the guard: it has passed already.
    if (!guard::is_guards(e.id)) {
      inherited_.answered(e.id, e.deny_errno);
      return;
    }
    // A denied operation leaves too, and a client that complies late needs to hear of it.
    guard_->answer(e.id, e.deny_errno, passing_.count(e.id) != 0 || e.deny_errno != 0);
    return prepare_store();
  }
  const auto it = api_breaks_.find(e.id);
  if (it == api_breaks_.end()) return;
  const bool holds = it->second.kind == core::BreakKind::Freeze && e.deny_errno == 0;
  Session* s = find_session(it->second.session);
  if (holds && !it->second.ends_with_daemon && (s != nullptr || it->second.admin)) keep_freeze(e.id, it->second);
  if (s == nullptr) return;
  if (!holds) {
    s->freezes.erase(e.id);
    return reply_status(s->id, it->second.request, e.deny_errno, why_denied(it->second, e.deny_errno));
  }
  send_frozen(*s, e.id, it->second);
}

std::string Broker::why_denied(const ApiBreak& b, int code) {
  if (code == 0) return {};
  if (b.failed.code == code && !b.failed.message.empty()) return b.failed.message;
  const std::string word = std::strerror(code);
  const bool of_the_disk = code == EIO || code == ENOSPC || code == EDQUOT || code == EROFS;
  // No work of its own has failed (Arbiter::State::tell_unwritten()).
  if (b.kind != core::BreakKind::Sync || b.failed.code != 0 || !of_the_disk) return word;
  return "fsync: " + word + "; of a sync since the last one that was asked for, which writeback-interval-ms wanted. What it failed for is written again";
}

void Broker::send_frozen(Session& s, core::BreakId id, const ApiBreak& freeze) {
  Frame answer;
  answer.mutable_frozen()->set_freeze(id);
  answer.mutable_frozen()->set_unsettled_pages(freeze.unsettled);
  reply(s, freeze.request, std::move(answer));
}

void Broker::apply(const effect::WatchPassing& e) {
  // The guard was told with the answer; what has passed already, or never had a guard, has left.
  const auto it = guard_breaks_.find(e.id);
  if (guard::is_guards(e.id) || it == guard_breaks_.end()) return;
  step(core::event::OperationLeft{e.id, file_size(it->second)});
}

void Broker::apply(const effect::BreakDone& e) {
  guard_breaks_.erase(e.id);
  took_over(e.id);
  if (const auto file = inherited_.over(e.id)) adopt_file_breaks(*file);
  if (const auto it = api_breaks_.find(e.id); it != api_breaks_.end()) {
    if (keeps()) kept_.state->freezes.clear(it->second.slot);
    api_breaks_.erase(it);
  }
}

void Broker::apply(const effect::Thawed& e) {
  const auto freeze = api_breaks_.find(e.freeze);
  if (freeze != api_breaks_.end())
    if (Session* s = find_session(freeze->second.session)) s->freezes.erase(e.freeze);
  const auto it = requests_.find(e.request);
  if (it == requests_.end()) return;
  reply_status(it->second.session, it->second.request, e.expired ? ETIMEDOUT : 0,
               e.expired ? "the freeze was over before: " + why_over(e.freeze) : "");
  requests_.erase(it);
}

void Broker::apply(const effect::Fenced& e) {
  if (const auto lease = find_lease(e.lease)) notice(*lease, v1::Notice::FENCED, 0, "the recall deadline passed");
}

void Broker::apply(const effect::Forget& e) { drop_lease(e.lease); }

void Broker::apply(const effect::Report& e) { log_(2, e.what); }

}  // namespace mrlease::session
