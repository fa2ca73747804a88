// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/chronicle.h"

#include <algorithm>
#include <utility>

#include "daemon/guard/guard.h"
#include "daemon/sys/task_owner.h"

namespace mrlease::session {

namespace {

using std::chrono::steady_clock;

// So that a thread which writes logs is not woken for each single event, beside a task that was just let go.
constexpr std::chrono::milliseconds kBatchDelay{10};
// Nobody takes the batches, or not fast enough: the memory is bounded.
constexpr std::size_t kBatchMax = 65536;

WhoPtr nobody() {
  static const WhoPtr who = std::make_shared<const Who>();
  return who;
}

WhoPtr owner_of(int tid) {
  Who who;
  who.tid = tid;
  const auto owner = tid == 0 ? std::nullopt : sys::owner_apart(tid);
  if (owner) {
    who.pid = owner->pid;
    who.uid = owner->uid;
    who.gid = owner->gid;
    who.program = owner->comm;
  }
  return std::make_shared<const Who>(std::move(who));
}

}  // namespace

Chronicle::Chronicle(asio::io_context& loop, std::function<std::string(const core::FileKey&)> path_of)
    : loop_(loop), path_of_(std::move(path_of)), timer_(loop) {}

// The loop's own path must not wait for it: the client may answer within microseconds.
bool is_urgent(const core::Event& event) {
  if (const auto* wanted = std::get_if<core::event::RequestBreak>(&event)) return guard::is_guards(wanted->id);
  return std::holds_alternative<core::event::RecallAnswered>(event) || std::holds_alternative<core::event::WorkDone>(event) ||
         std::holds_alternative<core::event::OperationLeft>(event) || std::holds_alternative<core::event::FenceDone>(event) ||
         std::holds_alternative<core::event::Tick>(event);
}

// ---- batches ----

void Chronicle::note(decltype(Happening::what) what) {
  if (!sink_ || batch_.size() >= kBatchMax) return;
  auto time = std::chrono::system_clock::now();
  if (at_) time -= std::chrono::duration_cast<std::chrono::system_clock::duration>(steady_clock::now() - *at_);
  batch_.push_back({time, std::move(what)});
  arm();
}

void Chronicle::arm() {
  if (std::exchange(armed_, true)) return;
  timer_.expires_after(kBatchDelay);
  timer_.async_wait([this](const asio::error_code& error) {
    armed_ = false;
    if (!error) flush();
  });
}

void Chronicle::flush() {
  settle();
  if (!batch_.empty() && sink_) sink_(std::exchange(batch_, {}));
}

// ---- what the broker says ----

void Chronicle::foreign(core::BreakId id, int tid, const std::string& what) {
  announced_[id] = {Source::Foreign, tid, what, steady_clock::now(), nullptr};
}

void Chronicle::late(core::BreakId id, const std::string& what) { announced_[id] = {Source::Late, 0, what, steady_clock::now(), nobody()}; }

void Chronicle::admin(core::BreakId id, std::string what) {
  announced_[id] = {Source::Admin, 0, std::move(what), steady_clock::now(), nobody()};
}

void Chronicle::session_began(core::SessionId id, Who who) {
  settle();
  auto client = std::make_shared<const Who>(std::move(who));
  if (sessions_.emplace(id, client).second) note(happening::SessionBegan{id, std::move(client)});
}

void Chronicle::session_ended(core::SessionId id, const std::string& why, std::size_t leases) {
  settle();
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return;
  note(happening::SessionEnded{id, it->second, why, leases});
  sessions_.erase(it);
}

void Chronicle::wrote(core::LeaseId id, std::uint64_t pages, std::uint64_t conflicts) {
  if (pages == 0 && conflicts == 0) return;
  backlog_.push_back({steady_clock::now(), core::event::Tick{}, {}, id, pages, conflicts});
  arm();
}

void Chronicle::unsettled(core::BreakId id, std::uint64_t pages) {
  settle();
  if (const auto it = breaks_.find(id); it != breaks_.end()) it->second.unsettled += pages;
}

// ---- what the arbiter says ----

void Chronicle::saw(const core::Event& event, core::Effects effects) {
  look_at_owners(effects);
  if (watcher_) watcher_(effects);
  backlog_.push_back({steady_clock::now(), event, std::move(effects), 0, 0, 0});
  if (!is_urgent(event)) return settle();
  arm();
}

// A task that was just let go is there still, but not for long.
void Chronicle::look_at_owners(const core::Effects& effects) {
  for (const auto& e : effects) {
    const auto* answer = std::get_if<core::effect::BreakAnswered>(&e);
    if (answer == nullptr || !guard::is_guards(answer->id)) continue;
    const auto it = announced_.find(answer->id);
    if (it != announced_.end() && !it->second.by) it->second.by = owner_of(it->second.tid);
  }
}

void Chronicle::settle() {
  for (const Seen& seen : std::exchange(backlog_, {})) take(seen);
}

void Chronicle::take(const Seen& seen) {
  at_ = seen.at;
  refused_ = 0;
  if (seen.wrote != 0) {
    if (const auto it = leases_.find(seen.wrote); it != leases_.end()) it->second.pages_written += seen.pages;
    note(happening::PagesWritten{seen.pages, seen.conflicts});
  }
  if (const auto* lease = std::get_if<core::event::RequestLease>(&seen.event)) begins(*lease);
  if (const auto* wanted = std::get_if<core::event::RequestBreak>(&seen.event)) begins(*wanted);
  if (const auto* lease = std::get_if<core::event::AdoptLease>(&seen.event)) begins(*lease);
  if (const auto* b = std::get_if<core::event::AdoptBreak>(&seen.event)) begins(*b);
  if (const auto* b = std::get_if<core::event::AdoptPassing>(&seen.event)) begins(*b);
  if (const auto* answer = std::get_if<core::event::RecallAnswered>(&seen.event)) answered(*answer);
  if (const auto* fence = std::get_if<core::event::FenceDone>(&seen.event)) fence_over(fence->lease, !fence->ok);
  if (const auto* gone = std::get_if<core::event::SessionGone>(&seen.event)) drop_waiting(gone->session);
  for (const auto& e : seen.effects) std::visit([this](const auto& x) { on(x); }, e);
  at_.reset();
}

LeaseNote& Chronicle::lease_begins(const core::Lease& l) {
  LeaseNote& lease = leases_[l.id];
  lease.id = l.id;
  lease.session = l.session;
  lease.file = file_ref(l.file, true);
  lease.extent = l.extent;
  lease.backing = l.backing;
  lease.write = l.write;
  lease.client = client(l.session);
  lease.since = std::chrono::system_clock::now();
  ++files_[l.file].second;
  return lease;
}

void Chronicle::begins(const core::event::RequestLease& e) { asked_[e.request] = lease_begins(e.lease).id; }

// A predecessor's: granted long ago, and told then.
void Chronicle::begins(const core::event::AdoptLease& e) { lease_begins(e.lease).granted = true; }

void Chronicle::begins(const core::event::AdoptBreak& e) {
  announced_.try_emplace(e.id, Announced{e.owner != 0 ? Source::Client : Source::Late, 0, "from before the restart", *at_, client(e.owner)});
  begins(core::event::RequestBreak{e.id, e.file, e.kind, e.extent, e.file_size, e.hold, e.owner});
}

void Chronicle::begins(const core::event::AdoptPassing& e) {
  announced_.try_emplace(e.id, Announced{Source::Foreign, 0, "from before the restart, and still running", *at_, nobody()});
  begins(core::event::RequestBreak{e.id, e.file, core::BreakKind::Truncate, {}});
  breaks_.at(e.id).answered = *at_;  // by the predecessor
}

void Chronicle::begins(const core::event::RequestBreak& e) {
  if (e.periodic) return;  // of each file every few seconds, for ever: only its failures are news, and they are logged
  BreakNote b;
  b.began = *at_;
  b.id = e.id;
  b.file = file_ref(e.file, true);
  b.kind = e.kind;
  b.extent = e.extent;
  b.new_size = e.new_size;
  b.hold = e.hold;
  b.owner = e.owner;
  b.source = Source::Client;
  b.by = nobody();
  if (auto known = announced_.extract(e.id)) {
    b.source = known.mapped().source;
    b.what = std::move(known.mapped().what);
    b.began = known.mapped().began;
    b.by = known.mapped().by ? known.mapped().by : owner_of(known.mapped().tid);
  } else {
    b.by = client(e.owner);
  }
  b.since = std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::system_clock::duration>(steady_clock::now() - b.began);
  note(happening::BreakBegun{b});
  breaks_[e.id] = std::move(b);
}

void Chronicle::answered(const core::event::RecallAnswered& e) {
  const auto it = recalls_.find(e.recall);
  if (it == recalls_.end()) return;
  const auto lease = leases_.find(it->second.lease);
  if (lease != leases_.end() && lease->second.session != e.session) return;  // not this client's to answer
  if (e.code != 0) refused_ = it->second.lease;
  recall_over(it, e.code, false);
}

// code: the client's; none: it never came.
void Chronicle::recall_over(Recalls::iterator it, std::optional<int> code, bool fenced) {
  RecallNote recall = std::move(it->second);
  if (const auto of = recalls_of_.find(recall.lease); of != recalls_of_.end()) {
    std::erase(of->second, it->first);
    if (of->second.empty()) recalls_of_.erase(of);
  }
  recalls_.erase(it);
  recall.fenced = fenced;
  if (code) {
    recall.took = *at_ - recall.sent;
    recall.code = *code;
  }
  const auto lease = leases_.find(recall.lease);
  note(happening::RecallAnswered{lease == leases_.end() ? FileRef{{}, std::make_shared<std::string>()} : lease->second.file, recall});
  if (const auto b = breaks_.find(recall.break_id); b != breaks_.end()) b->second.recalled.push_back(std::move(recall));
}

void Chronicle::on(const core::effect::Granted& e) {
  asked_.erase(e.request);
  const auto it = leases_.find(e.lease);
  if (it == leases_.end()) return;
  it->second.granted = true;
  note(happening::LeaseGranted{it->second});
}

void Chronicle::on(const core::effect::Refused& e) {
  const auto asked = asked_.extract(e.request);
  if (!asked) return;  // of something else than a lease
  const auto it = leases_.find(asked.mapped());
  if (it == leases_.end()) return;
  note(happening::LeaseRefused{it->second.file, it->second.client, e.code, e.message});
  lease_over(asked.mapped(), nullptr);
}

void Chronicle::on(const core::effect::Released& e) { lease_over(e.lease, "released"); }

void Chronicle::on(const core::effect::Forget& e) {
  const auto it = leases_.find(e.lease);
  if (it == leases_.end()) return;
  lease_over(e.lease, sessions_.count(it->second.session) != 0 ? "revoked" : "its client is gone");
}

void Chronicle::lease_over(core::LeaseId id, const char* reason) {
  fence_over(id, false);
  if (const auto of = recalls_of_.extract(id))
    for (const core::RecallId recall : of.mapped()) recalls_.erase(recall);
  const auto it = leases_.find(id);
  if (it == leases_.end()) return;
  if (reason != nullptr) note(happening::LeaseEnded{it->second, reason});
  const core::FileKey file = it->second.file.key;
  leases_.erase(it);
  if (const auto f = files_.find(file); f != files_.end() && --f->second.second == 0) files_.erase(f);
}

// Requests for leases that were never answered.
void Chronicle::drop_waiting(core::SessionId session) {
  for (auto it = asked_.begin(); it != asked_.end();) {
    const auto lease = leases_.find(it->second);
    const bool ours = lease == leases_.end() || lease->second.session == session;
    if (ours && lease != leases_.end()) lease_over(it->second, nullptr);
    it = ours ? asked_.erase(it) : std::next(it);
  }
}

void Chronicle::on(const core::effect::Recall& e) {
  const auto lease = leases_.find(e.lease);
  if (lease == leases_.end()) return;
  RecallNote recall;
  recall.lease = e.lease;
  recall.client = lease->second.client;
  recall.backing = lease->second.backing;
  recall.action = e.action;
  recall.reason = e.reason;
  recall.extent = e.extent;
  recall.break_id = e.break_id;
  recall.sent = *at_;
  ++lease->second.breaks;
  note(happening::Recalled{lease->second.file, recall});
  recalls_[e.recall] = std::move(recall);
  recalls_of_[e.lease].push_back(e.recall);
}

void Chronicle::on(const core::effect::StartFence& e) {
  Fence& fence = fences_[e.lease];
  fence.kill = e.kill;
  if (fence.cause != nullptr) return;  // the second stage of the same
  fence.cause = refused_ == e.lease ? "refused" : "recall_timeout";
  fence.began = *at_;
  if (const auto of = recalls_of_.find(e.lease); of != recalls_of_.end())
    for (const core::RecallId id : std::vector(of->second))
      if (const auto it = recalls_.find(id); it != recalls_.end()) recall_over(it, {}, true);
}

// Told by the fence's own end, or by that of its lease when the client is gone first.
void Chronicle::fence_over(core::LeaseId id, bool killed) {
  const auto fence = fences_.extract(id);
  const auto lease = leases_.find(id);
  if (!fence || lease == leases_.end()) return;
  note(happening::LeaseFenced{lease->second, fence.mapped().cause, killed || fence.mapped().kill,
                              *at_ - fence.mapped().began});
}

void Chronicle::on(const core::effect::BreakAnswered& e) {
  const auto it = breaks_.find(e.id);
  if (it == breaks_.end()) return;
  BreakNote& b = it->second;
  b.answered = *at_;
  b.code = e.deny_errno;
  b.phase = BreakPhase::Passing;
  if (b.kind != core::BreakKind::Freeze || b.code != 0) return;
  b.phase = BreakPhase::Holding;
  note(happening::FreezeHolds{b});
}

void Chronicle::on(const core::effect::Thawed& e) {
  if (const auto it = breaks_.find(e.freeze); it != breaks_.end()) it->second.expired = e.expired;
}

void Chronicle::on(const core::effect::BreakDone& e) {
  auto done = breaks_.extract(e.id);
  if (!done) return;
  BreakNote& b = done.mapped();
  for (const auto& [id, recall] : recalls_)
    if (recall.break_id == e.id) b.recalled.push_back(recall);
  const auto file = files_.find(b.file.key);
  if (file != files_.end() && file->second.second == 0) files_.erase(file);
  const Span took = *at_ - b.began;
  note(happening::BreakDone{std::move(b), took});
}

void Chronicle::on(const core::effect::Report& e) {
  const auto it = files_.find(e.file);
  note(happening::Report{it == files_.end() ? FileRef{e.file, std::make_shared<std::string>()} : it->second.first, e.lease, e.break_id, e.what});
}

// ---- what is so now ----

std::vector<RecallNote> Chronicle::outstanding(core::LeaseId lease) const {
  std::vector<RecallNote> notes;
  if (const auto of = recalls_of_.find(lease); of != recalls_of_.end())
    for (const core::RecallId id : of->second)
      if (const auto it = recalls_.find(id); it != recalls_.end()) notes.push_back(it->second);
  return notes;
}

FileRef Chronicle::file_ref(const core::FileKey& key, bool look_again) {
  auto& [ref, leases] = files_[key];
  if (!ref.path || look_again) {
    std::string path = path_of_(key);
    if (!ref.path || (!path.empty() && path != *ref.path)) ref = {key, std::make_shared<const std::string>(std::move(path))};
  }
  return ref;
}

WhoPtr Chronicle::client(core::SessionId id) const {
  const auto it = sessions_.find(id);
  return it == sessions_.end() ? nobody() : it->second;
}

}  // namespace mrlease::session
