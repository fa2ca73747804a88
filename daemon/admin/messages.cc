// SPDX-License-Identifier: Apache-2.0
// The messages of proto/admin.proto, filled.
#include <sys/sysmacros.h>

#include <algorithm>

#include "daemon/admin/words.h"

namespace mrlease::admin {

namespace {

namespace happening = session::happening;
using std::chrono::duration_cast;
using std::chrono::nanoseconds;

void fill(v1::Range* to, std::uint64_t begin, std::uint64_t end) {
  to->set_offset(begin);
  to->set_length(end == core::kToEnd ? 0 : end - begin);
}

void fill(v1::LeaseTerms* to, const session::TermsView& view) {
  to->set_rule(view.rule);
  admin::fill(to->mutable_recall_deadline(), std::chrono::milliseconds(view.terms.recall_deadline));
  admin::fill(to->mutable_fence_deadline(), std::chrono::milliseconds(view.terms.fence_deadline));
  to->set_on_timeout(to_proto(view.terms.on_timeout));
  if (view.terms.writeback_interval != 0)
    admin::fill(to->mutable_writeback_interval(), std::chrono::milliseconds(view.terms.writeback_interval));
  const session::ClientLimits& limits = view.limits;
  to->set_discard_orphans(limits.preserve_orphans == false);
  to->set_orphan_bytes_max(limits.orphan_bytes_max.value_or(0));
  if (limits.orphan_keep_max) admin::fill(to->mutable_orphan_keep_max(), std::chrono::milliseconds(*limits.orphan_keep_max));
  if (limits.peer_budget_max) admin::fill(to->mutable_peer_budget_max(), std::chrono::milliseconds(*limits.peer_budget_max));
}

void fill(v1::RecalledLease* to, const session::RecallNote& note) {
  to->set_lease(note.lease);
  admin::fill(to->mutable_client(), *note.client);
  to->set_action(to_proto(note.action));
  to->set_backing(to_proto(note.backing));
  if (note.took) admin::fill(to->mutable_took(), *note.took);
  to->set_errno_value(note.code);
  to->set_fenced(note.fenced);
}

// One for each kind of event; false: it is not told.
struct Teller {
  v1::Event* to;

  bool operator()(const happening::SessionBegan& h) const {
    to->mutable_session_begun()->set_session(h.session);
    admin::fill(to->mutable_session_begun()->mutable_client(), *h.client);
    return true;
  }
  bool operator()(const happening::SessionEnded& h) const {
    auto& e = *to->mutable_session_ended();
    e.set_session(h.session);
    admin::fill(e.mutable_client(), *h.client);
    e.set_reason(h.reason);
    e.set_leases(static_cast<std::uint32_t>(h.leases));
    return true;
  }
  bool operator()(const happening::LeaseGranted& h) const {
    admin::fill(to->mutable_lease_granted(), h.lease);
    return true;
  }
  bool operator()(const happening::LeaseEnded& h) const {
    auto& e = *to->mutable_lease_ended();
    e.set_lease(h.lease.id);
    admin::fill(e.mutable_file(), h.lease.file);
    admin::fill(e.mutable_client(), *h.lease.client);
    e.set_reason(h.reason);
    return true;
  }
  bool operator()(const happening::LeaseFenced& h) const {
    auto& e = *to->mutable_lease_fenced();
    e.set_lease(h.lease.id);
    admin::fill(e.mutable_file(), h.lease.file);
    admin::fill(e.mutable_client(), *h.lease.client);
    e.set_cause(h.cause);
    e.set_killed(h.killed);
    admin::fill(e.mutable_took(), h.took);
    return true;
  }
  bool operator()(const happening::Recalled& h) const {
    auto& e = *to->mutable_recalled();
    e.set_lease(h.recall.lease);
    admin::fill(e.mutable_file(), h.file);
    admin::fill(e.mutable_client(), *h.recall.client);
    e.set_action(to_proto(h.recall.action));
    e.set_reason(to_proto(h.recall.reason));
    admin::fill(e.mutable_range(), h.recall.extent);
    return true;
  }
  bool operator()(const happening::RecallAnswered& h) const {
    if (!h.recall.took) return false;  // lease_fenced tells
    auto& e = *to->mutable_recall_answered();
    e.set_lease(h.recall.lease);
    admin::fill(e.mutable_client(), *h.recall.client);
    e.set_action(to_proto(h.recall.action));
    admin::fill(e.mutable_took(), *h.recall.took);
    e.set_errno_value(h.recall.code);
    return true;
  }
  bool operator()(const happening::BreakBegun& h) const {
    admin::fill(to->mutable_break_begun(), h.note, 0);
    return true;
  }
  bool operator()(const happening::FreezeHolds& h) const {
    auto& e = *to->mutable_freeze_holds();
    e.set_break_id(h.note.id);
    admin::fill(e.mutable_file(), h.note.file);
    admin::fill(e.mutable_range(), h.note.extent);
    e.set_unsettled_pages(h.note.unsettled);
    return true;
  }
  bool operator()(const happening::BreakDone& h) const {
    auto& e = *to->mutable_break_done();
    admin::fill(e.mutable_break_(), h.note, 0);
    e.set_result(result_of(h.note));
    e.set_errno_value(h.note.code);
    if (h.note.answered) admin::fill(e.mutable_waited(), *h.note.answered - h.note.began);
    admin::fill(e.mutable_took(), h.took);
    for (const auto& recall : h.note.recalled) fill(e.add_recalled(), recall);
    return true;
  }
  bool operator()(const happening::Report& h) const {
    auto& e = *to->mutable_report();
    admin::fill(e.mutable_file(), h.file);
    e.set_lease(h.lease);
    e.set_break_id(h.break_id);
    e.set_text(h.text);
    return true;
  }
  bool operator()(const happening::ConfigReloaded& h) const {
    for (const auto& name : h.changed) to->mutable_config_reloaded()->add_changed(name);
    for (const auto& name : h.needs_restart) to->mutable_config_reloaded()->add_needs_restart(name);
    return true;
  }
  bool operator()(const happening::LeaseRefused&) const { return false; }
  bool operator()(const happening::PagesWritten&) const { return false; }
};

}  // namespace

void fill(v1::FileId* to, const session::FileRef& file) {
  to->set_path(*file.path);
  to->set_device(file.key.device);
  to->set_inode(file.key.inode);
  to->set_device_major(gnu_dev_major(file.key.device));
  to->set_device_minor(gnu_dev_minor(file.key.device));
}

void fill(v1::Range* to, const core::Extent& extent) { fill(to, extent.begin, extent.end); }

void fill(v1::Process* to, const session::Who& who) {
  to->set_pid(who.pid);
  to->set_uid(who.uid);
  to->set_gid(who.gid);
  to->set_program(who.program);
  to->set_tid(who.tid);
}

void fill(v1::Lease* to, const session::LeaseNote& note) {
  to->set_id(note.id);
  fill(to->mutable_file(), note.file);
  fill(to->mutable_range(), note.extent);
  to->set_on_file_end(note.extent.end);
  to->set_backing(to_proto(note.backing));
  to->set_read(true);
  to->set_write(note.write);
  to->set_state(note.granted ? v1::LEASE_STATE_ACTIVE : v1::LEASE_STATE_PENDING);
  fill(to->mutable_client(), *note.client);
  to->set_session(note.session);
  fill(to->mutable_since(), note.since);
  to->set_breaks(note.breaks);
  to->set_pages_written(note.pages_written);
}

void fill(v1::Lease* to, const session::LeaseView& view) {
  fill(to, view.note);
  to->set_state(to_proto(view.state));
  to->set_on_file_end(view.on_file_end);
  to->set_guard(to_proto(view.coverage.kind));
  to->set_coverage(view.coverage.text);
  to->set_rule(view.rule);
  fill(to->mutable_recall_deadline(), std::chrono::milliseconds(view.terms.recall_deadline));
  if (view.note.write && view.terms.writeback_interval != 0) fill(to->mutable_writeback_interval(), std::chrono::milliseconds(view.terms.writeback_interval));
  for (const core::Action action : view.recalls) to->add_recalls(to_proto(action));
  for (const auto& mr : view.mrs) {
    auto& m = *to->add_memory_regions();
    m.set_device(mr.device);
    m.set_handle(mr.handle);
    m.set_lkey(mr.lkey);
    m.set_rkey(mr.rkey);
    m.set_length(mr.length);
  }
}

void fill(v1::LeaseChange* to, const session::TermsChange& change) {
  to->set_lease(change.note.id);
  fill(to->mutable_file(), change.note.file);
  fill(to->mutable_client(), *change.note.client);
  fill(to->mutable_now(), change.now);
  fill(to->mutable_then(), change.then);
  to->set_refused(change.refused);
}

void fill(v1::Break* to, const session::BreakNote& note, core::Time hold_max) {
  to->set_id(note.id);
  fill(to->mutable_file(), note.file);
  to->set_kind(to_proto(note.kind));
  to->set_source(to_proto(note.source));
  to->set_phase(to_proto(note.phase));
  fill(to->mutable_range(), note.extent);
  to->set_new_size(note.new_size);
  fill(to->mutable_by(), *note.by);
  fill(to->mutable_since(), note.since);
  const auto now = std::chrono::steady_clock::now();
  fill(to->mutable_age(), now - note.began);
  to->set_what(note.what);
  if (note.phase != session::BreakPhase::Holding || hold_max == 0) return;
  const core::Time hold = note.hold == 0 ? hold_max : std::min(note.hold, hold_max);
  fill(to->mutable_hold_left(), std::max<session::Span>(*note.answered + std::chrono::milliseconds(hold) - now, {}));
}

void fill(v1::File* to, const session::FileView& view, core::Time hold_max) {
  fill(to->mutable_id(), view.file);
  to->set_size(view.size);
  to->set_guard(to_proto(view.coverage.kind));
  to->set_coverage(view.coverage.text);
  for (const auto& lease : view.leases) fill(to->add_leases(), lease);
  for (const auto& b : view.breaks) fill(to->add_breaks(), b, hold_max);
}

void fill(google::protobuf::Timestamp* to, session::Wall time) {
  const auto ns = duration_cast<nanoseconds>(time.time_since_epoch()).count();
  to->set_seconds(ns / 1000000000);
  to->set_nanos(static_cast<int>(ns % 1000000000));
}

void fill(google::protobuf::Duration* to, session::Span span) {
  const auto ns = duration_cast<nanoseconds>(span).count();
  to->set_seconds(ns / 1000000000);
  to->set_nanos(static_cast<int>(ns % 1000000000));
}

bool fill(v1::Event* to, const session::Happening& h) {
  fill(to->mutable_time(), h.time);
  return std::visit(Teller{to}, h.what);
}

}  // namespace mrlease::admin
