// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/admin_view.h"

#include <algorithm>
#include <set>
#include <utility>

#include "daemon/sys/mounts.h"

namespace mrlease::session {

namespace effect = core::effect;

AdminView::AdminView(Broker& broker) : broker_(broker) {
  broker_.chronicle_.watch([this](const core::Effects& effects) { saw(effects); });
}

void AdminView::visit_leases(core::LeaseId after, const std::function<bool(const LeaseNote&)>& visit) const {
  const auto& leases = chronicle().leases();
  for (auto it = leases.upper_bound(after); it != leases.end() && visit(it->second); ++it) continue;
}

LeaseState AdminView::state(const LeaseNote& note) const {
  const auto hold = broker_.find_lease(note.id);
  if (!hold || !note.granted) return LeaseState::Pending;
  if (hold->destroyed) return LeaseState::Fenced;
  if (hold->fencing || chronicle().fencing(note.id)) return LeaseState::Fencing;
  if (hold->backing == core::Backing::Bounce && !hold->bounce) return LeaseState::Pending;
  if (chronicle().recalled(note.id)) return LeaseState::Recalling;
  for (const auto& [id, b] : chronicle().breaks())
    if (b.phase == BreakPhase::Holding && b.file.key == note.file.key && b.extent.overlaps(note.extent)) return LeaseState::Frozen;
  return hold->size_told < note.extent.end ? LeaseState::Trimmed : LeaseState::Active;
}

std::optional<LeaseView> AdminView::lease(core::LeaseId id) const {
  const auto it = chronicle().leases().find(id);
  if (it == chronicle().leases().end()) return {};
  LeaseView view;
  view.note = it->second;
  view.state = state(view.note);
  view.on_file_end = view.note.extent.end;
  for (const RecallNote& recall : chronicle().outstanding(id)) view.recalls.push_back(recall.action);
  if (const auto file = broker_.files_.find(view.note.file.key); file != broker_.files_.end()) view.coverage = file->second.coverage;
  const auto hold = broker_.find_lease(id);
  if (!hold) return view;
  view.on_file_end = std::min(view.note.extent.end, hold->size_told);
  view.terms = broker_.arbiter_.terms(id);
  if (const core::Lease* known = broker_.arbiter_.find(id)) view.rule = known->terms;
  const Session* s = broker_.find_session(hold->session);
  for (const LeaseMr& mr : hold->mrs) {
    std::string device;
    if (s != nullptr)
      if (const auto d = s->devices.find(mr.device); d != s->devices.end()) device = d->second.name;
    view.mrs.push_back({std::move(device), mr.mr.handle, mr.mr.lkey, mr.mr.rkey, mr.mr.length});
  }
  return view;
}

std::vector<TermsChange> AdminView::would_change(const Options& options) const {
  std::vector<TermsChange> changes;
  for (const auto& [id, note] : chronicle().leases()) {
    const auto hold = broker_.find_lease(id);
    const core::Lease* known = broker_.arbiter_.find(id);
    if (!hold || known == nullptr) continue;
    const Ruling ruled = Broker::ruling(options.rules, hold->fd.get(), hold->user, hold->write, hold->backing);
    const core::Terms then = ruled.rule == 0 ? core::Terms(options.policy) : terms_of(options.rules[ruled.rule - 1], options.policy);
    const ClientLimits now = limits_of(broker_.options_.rules, known->terms, hold->backing), would = limits_of(options.rules, ruled.rule, hold->backing);
    TermsChange change{note, {known->terms, broker_.arbiter_.terms(id), now}, {ruled.rule, then, would}, ruled.refused};
    if (change.now.terms != change.then.terms || now != would || !change.refused.empty()) changes.push_back(std::move(change));
  }
  return changes;
}

std::vector<core::FileKey> AdminView::files(std::optional<core::FileKey> after, std::size_t limit) const {
  std::set<core::FileKey> keys;
  const auto& known = broker_.files_;
  for (auto it = after ? known.upper_bound(*after) : known.begin(); it != known.end() && keys.size() < limit; ++it) keys.insert(it->first);
  for (const auto& [id, b] : chronicle().breaks())
    if (!after || b.file.key > *after) keys.insert(b.file.key);
  std::vector<core::FileKey> page(keys.begin(), keys.end());
  if (page.size() > limit) page.resize(limit);
  return page;
}

std::optional<FileView> AdminView::file(const core::FileKey& key) const {
  FileView view;
  view.file = {key, std::make_shared<const std::string>(broker_.path_of(key))};
  for (const auto& [id, b] : chronicle().breaks())
    if (b.file.key == key) view.breaks.push_back(b);
  const auto entry = broker_.files_.find(key);
  if (entry == broker_.files_.end() && view.breaks.empty()) return {};
  if (entry != broker_.files_.end()) {
    view.coverage = entry->second.coverage;
    view.size = broker_.file_size(key);
    view.mount = sys::mount_id(entry->second.fd.get());
  }
  for (const core::LeaseId id : leases_of(key))
    if (auto found = lease(id)) view.leases.push_back(std::move(*found));
  std::stable_sort(view.leases.begin(), view.leases.end(),
                   [](const LeaseView& a, const LeaseView& b) { return a.note.extent.begin < b.note.extent.begin; });
  return view;
}

std::vector<core::LeaseId> AdminView::leases_of(const core::FileKey& key) const {
  std::vector<core::LeaseId> ids;
  for (const auto& [id, note] : chronicle().leases())
    if (note.file.key == key) ids.push_back(id);
  return ids;
}

unsigned AdminView::overlapping(const core::FileKey& key, const core::Extent& extent) const {
  unsigned n = 0;
  for (const auto& [id, note] : chronicle().leases()) n += note.file.key == key && note.extent.overlaps(extent);
  return n;
}

std::vector<std::weak_ptr<const void>> AdminView::held_for(const core::FileKey& key) const {
  std::vector<std::weak_ptr<const void>> held;
  for (const core::LeaseId id : leases_of(key))
    if (auto hold = broker_.find_lease(id)) held.push_back(hold);
  return held;
}

std::string AdminView::guard_text() const { return broker_.guard_->describe(); }

fence::SharedFd AdminView::descriptor(const core::FileKey& key) const {
  const auto it = broker_.files_.find(key);
  return it == broker_.files_.end() ? fence::SharedFd() : it->second.fd;
}

Totals AdminView::totals() const {
  Totals t;
  t.sessions = chronicle().sessions();
  t.files = broker_.files_.size();
  t.leases = chronicle().leases().size();
  t.breaks = chronicle().breaks().size();
  for (const auto& [id, b] : chronicle().breaks()) t.freezes += b.phase == BreakPhase::Holding;
  for (const auto& [id, note] : chronicle().leases())
    if (note.backing == core::Backing::Bounce) t.bounce_bytes += note.extent.end - note.extent.begin;
  return t;
}

core::BreakId AdminView::ask(AdminAsk ask) {
  const core::BreakId id = broker_.next_api_break_++;
  Asked& asked = asked_[id];
  asked.owner = broker_.next_session_++;
  broker_.note_numbers();
  Broker::ApiBreak& noted = broker_.api_breaks_[id] =
      Broker::ApiBreak{asked.owner, 0, ask.kind, ask.file, ask.fd, 0, ask.extent, ask.hold};
  noted.admin = true;
  noted.ends_with_daemon = static_cast<bool>(ask.over);
  if (ask.kind == core::BreakKind::Freeze) broker_.watch_frozen_memory();
  broker_.chronicle_.admin(id, ask.what);
  core::event::RequestBreak wanted{id, ask.file, ask.kind, ask.extent, 0, ask.hold, asked.owner};
  wanted.only = ask.only;
  asked.ask = std::move(ask);
  const bool waits = wanted.kind == core::BreakKind::Sync || wanted.kind == core::BreakKind::Freeze;
  if (!waits || broker_.awaited_.empty()) {
    broker_.step(wanted);
  } else {  // as clients do: see Broker::defer()
    broker_.after_grace_.push_back([this, wanted] {
      if (asked_.count(wanted.id) != 0) return broker_.step(wanted);
      broker_.api_breaks_.erase(wanted.id);  // abandoned meanwhile
    });
  }
  return id;
}

void AdminView::abandon(core::BreakId id) {
  const auto asked = asked_.extract(id);
  if (asked) broker_.step(core::event::SessionGone{asked.mapped().owner});
}

bool AdminView::holds(core::BreakId freeze) const {
  const auto it = chronicle().breaks().find(freeze);
  return it != chronicle().breaks().end() && it->second.kind == core::BreakKind::Freeze;
}

void AdminView::thaw(core::BreakId freeze, std::function<void(std::string)> done) {
  const core::RequestId request = broker_.new_request(0, 0);
  thaws_[request] = std::move(done);
  broker_.step(core::event::Thaw{freeze, request});
}

void AdminView::ban(std::function<std::string(const core::FileKey&, int)> banned) { broker_.banned_ = std::move(banned); }

void AdminView::saw(const core::Effects& effects) {
  for (const auto& e : effects) {
    if (const auto* answer = std::get_if<effect::BreakAnswered>(&e)) {
      const auto it = asked_.find(answer->id);
      if (it == asked_.end()) continue;
      const auto known = broker_.api_breaks_.find(answer->id);
      const std::uint64_t unsettled = known == broker_.api_breaks_.end() ? 0 : known->second.unsettled;
      AdminAnswer result{answer->deny_errno, unsettled, 0};
      if (const auto note = chronicle().breaks().find(answer->id); note != chronicle().breaks().end())
        for (const RecallNote& recall : note->second.recalled) result.fenced += recall.fenced;
      asio::post(broker_.loop_, [answered = std::exchange(it->second.ask.answered, {}), result] {
        if (answered) answered(result);
      });
    }
    if (const auto* thawed = std::get_if<effect::Thawed>(&e)) {
      if (auto waits = thaws_.extract(thawed->request))
        asio::post(broker_.loop_, [done = std::move(waits.mapped()), why = thawed->expired ? broker_.why_over(thawed->freeze) : ""] { done(why); });
      if (const auto it = asked_.find(thawed->freeze); it != asked_.end() && it->second.ask.over)
        asio::post(broker_.loop_, [over = std::exchange(it->second.ask.over, {}),
                                   why = thawed->request == 0 ? broker_.why_over(thawed->freeze) : ""] { over(why); });
    }
    if (const auto* done = std::get_if<effect::BreakDone>(&e)) asked_.erase(done->id);
  }
}

}  // namespace mrlease::session
