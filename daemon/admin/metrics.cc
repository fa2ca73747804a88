// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/metrics.h"

#include <unistd.h>

#include <cstdlib>
#include <limits>
#include <sstream>

#include "daemon/admin/version.h"
#include "daemon/admin/words.h"
#include "daemon/sys/own_proc.h"

namespace mrlease::admin {

namespace {

namespace happening = session::happening;
using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;

// From a guard's round trip (tens of microseconds) to the longest deadlines (recall, fence: seconds).
const prometheus::Histogram::BucketBoundaries kSeconds = {0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                          0.05,    0.1,    0.25,    0.5,    1,     2.5,    5,     10,   60};

double seconds(session::Span span) { return std::chrono::duration<double>(span).count(); }

// process_start_time_seconds, as every Prometheus client library tells it: seconds since the epoch.
double start_time() {
  // proc_pid_stat(5), field 22: clock ticks after boot; proc_stat(5), btime: boot, seconds since the epoch.
  const std::string text = sys::read_proc("self/stat");
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string ticks, word;
  for (int field = 3; field <= 22; ++field) fields >> ticks;
  std::istringstream boot(sys::read_proc("stat"));
  double btime = 0;
  while (boot >> word)
    if (word == "btime" && boot >> btime) break;
  return btime + std::strtod(ticks.c_str(), nullptr) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

Metrics::Metrics() : registry_(std::make_shared<prometheus::Registry>()) {
  auto& r = *registry_;
  const auto gauge = [&](const char* name, const char* help) { return &BuildGauge().Name(name).Help(help).Register(r).Add({}); };
  const auto counter = [&](const char* name, const char* help) { return &BuildCounter().Name(name).Help(help).Register(r).Add({}); };
  BuildGauge().Name("mrlease_build_info").Help("Version of the daemon; the value is 1").Register(r).Add({{"version", kVersion}}).Set(1);
  gauge("process_start_time_seconds", "Start of the daemon, seconds since the epoch")->Set(start_time());
  leases_ = &BuildGauge().Name("mrlease_leases").Help("Leases that are granted now").Register(r);
  sessions_ = gauge("mrlease_sessions", "Clients that are connected");
  files_ = gauge("mrlease_leased_files", "Files that have a lease");
  pending_ = gauge("mrlease_breaks_pending", "Breaks that are not over: waiting, holding or passing");
  freezes_ = gauge("mrlease_freezes_holding", "Freezes that hold");
  bounce_bytes_ = gauge("mrlease_bounce_bytes", "Bytes of bounce pages of all leases");
  breaks_ = &BuildCounter().Name("mrlease_breaks_total").Help("Breaks that are over, by what was wanted, by whom, and how it ended").Register(r);
  fences_ = &BuildCounter().Name("mrlease_fences_total").Help("Leases revoked by force, by cause and means").Register(r);
  recalls_ = &BuildCounter().Name("mrlease_recalls_total").Help("Recalls of clients that are over, by action, backing and result").Register(r);
  granted_ = counter("mrlease_leases_granted_total", "Leases granted");
  refused_ = counter("mrlease_leases_refused_total", "Requests for leases that the arbiter has refused");
  pages_ = counter("mrlease_pages_written_total", "Pages of 4096 bytes that the daemon has written to files from bounce pages");
  conflicts_ = counter("mrlease_page_conflicts_total", "Pages written by RDMA and by a foreign write at once; RDMA's stay");
  late_ = counter("mrlease_late_changes_total", "Changes of leased files that no guard held");
  reports_ = counter("mrlease_reports_total", "Reports of the arbiter to the administrator: overruns, failures, fences");
  wait_ = &BuildHistogram().Name("mrlease_foreign_wait_seconds").Help("How long held operations of others waited, by kind").Register(r);
  recall_time_ = &BuildHistogram().Name("mrlease_recall_seconds").Help("How long clients took to comply with a recall, by action and backing").Register(r);
  start_at_zero();
}

// What will be counted stands there from the start: a query finds zero instead of nothing, and a first increase is seen.
void Metrics::start_at_zero() {
  using core::Action;
  using core::Backing;
  using core::BreakKind;
  for (const auto backing : {Backing::Direct, Backing::OdpTransparent, Backing::OdpCooperative, Backing::Bounce}) {
    leases_->Add({{"backing", word(backing)}});
    const bool direct = backing == Backing::Direct;
    for (const auto action : direct ? std::vector{Action::Quiesce, Action::Reregister, Action::Freeze, Action::Thaw, Action::Dirty, Action::Release}
                             : backing == Backing::Bounce ? std::vector{Action::Release}
                                                          : std::vector{Action::Trim, Action::Settle, Action::Freeze, Action::Thaw, Action::Release}) {
      recall_time_->Add({{"action", word(action)}, {"backing", word(backing)}}, kSeconds);
      for (const char* result : {"complied", "refused", "late"})
        recalls_->Add({{"action", word(action)}, {"backing", word(backing)}, {"result", result}});
    }
  }
  for (const auto kind : {BreakKind::Truncate, BreakKind::Destructive, BreakKind::Write, BreakKind::Read}) {
    wait_->Add({{"kind", word(kind)}}, kSeconds);
    for (const char* result : {"allowed", "denied"}) breaks_->Add({{"kind", word(kind)}, {"source", "foreign"}, {"result", result}});
  }
  for (const auto kind : {BreakKind::Sync, BreakKind::Freeze, BreakKind::Revoke})
    for (const char* source : {"client", "admin"})
      if (kind != BreakKind::Revoke || *source == 'a') breaks_->Add({{"kind", word(kind)}, {"source", source}, {"result", "allowed"}});
  for (const char* cause : {"recall_timeout", "refused"})
    for (const char* means : {"destroyed", "killed"}) fences_->Add({{"cause", cause}, {"means", means}});
}

struct Metrics::Seer {
  Metrics& m;
  void operator()(const happening::SessionBegan&) const { m.sessions_->Increment(); }
  void operator()(const happening::SessionEnded&) const { m.sessions_->Decrement(); }
  void operator()(const happening::LeaseGranted& h) const { m.lease_granted(h.lease); }
  void operator()(const happening::LeaseRefused&) const { m.refused_->Increment(); }
  void operator()(const happening::LeaseEnded& h) const {
    if (h.lease.granted) m.lease_ended(h.lease);
  }
  void operator()(const happening::LeaseFenced& h) const {
    m.fences_->Add({{"cause", h.cause}, {"means", h.killed ? "killed" : "destroyed"}}).Increment();
  }
  void operator()(const happening::Recalled&) const {}
  void operator()(const happening::RecallAnswered& h) const { m.recall_over(h.recall); }
  void operator()(const happening::BreakBegun&) const { m.pending_->Increment(); }
  void operator()(const happening::FreezeHolds& h) const {
    m.holding_now_.insert(h.note.id);
    m.freezes_->Set(static_cast<double>(m.holding_now_.size()));
  }
  void operator()(const happening::BreakDone& h) const { m.break_done(h); }
  void operator()(const happening::PagesWritten& h) const {
    m.pages_->Increment(static_cast<double>(h.pages));
    m.conflicts_->Increment(static_cast<double>(h.conflicts));
  }
  void operator()(const happening::Report&) const { m.reports_->Increment(); }
  void operator()(const happening::ConfigReloaded&) const {}
};

void Metrics::see(const session::Happening& h) { std::visit(Seer{*this}, h.what); }

void Metrics::found(const session::Chronicle& chronicle) {
  sessions_->Increment(static_cast<double>(chronicle.sessions()));
  for (const auto& [id, note] : chronicle.leases())
    if (note.granted) lease_is_there(note);
  pending_->Increment(static_cast<double>(chronicle.breaks().size()));
  for (const auto& [id, b] : chronicle.breaks())
    if (b.phase == session::BreakPhase::Holding) holding_now_.insert(id);
  freezes_->Set(static_cast<double>(holding_now_.size()));
}

void Metrics::lease_granted(const session::LeaseNote& lease) {
  granted_->Increment();
  lease_is_there(lease);
}

void Metrics::lease_is_there(const session::LeaseNote& lease) {
  leases_->Add({{"backing", word(lease.backing)}}).Increment();
  if (lease.backing == core::Backing::Bounce) bounce_bytes_->Increment(static_cast<double>(lease.extent.end - lease.extent.begin));
  ++files_held_[lease.file.key];
  files_->Set(static_cast<double>(files_held_.size()));
}

void Metrics::lease_ended(const session::LeaseNote& lease) {
  leases_->Add({{"backing", word(lease.backing)}}).Decrement();
  if (lease.backing == core::Backing::Bounce) bounce_bytes_->Decrement(static_cast<double>(lease.extent.end - lease.extent.begin));
  const auto it = files_held_.find(lease.file.key);
  if (it != files_held_.end() && --it->second == 0) files_held_.erase(it);
  files_->Set(static_cast<double>(files_held_.size()));
}

void Metrics::break_done(const happening::BreakDone& done) {
  const auto& b = done.note;
  pending_->Decrement();
  if (holding_now_.erase(b.id) != 0) freezes_->Set(static_cast<double>(holding_now_.size()));
  breaks_->Add({{"kind", word(b.kind)}, {"source", word(b.source)}, {"result", word(result_of(b))}}).Increment();
  if (b.source == session::Source::Late) late_->Increment();
  if (b.source == session::Source::Foreign && b.answered)
    wait_->Add({{"kind", word(b.kind)}}, kSeconds).Observe(seconds(*b.answered - b.began));
}

void Metrics::recall_over(const session::RecallNote& recall) {
  const char* result = !recall.took ? "late" : recall.code != 0 ? "refused" : "complied";
  recalls_->Add({{"action", word(recall.action)}, {"backing", word(recall.backing)}, {"result", result}}).Increment();
  if (recall.took)
    recall_time_->Add({{"action", word(recall.action)}, {"backing", word(recall.backing)}}, kSeconds).Observe(seconds(*recall.took));
}

namespace {

void add_counts(const prometheus::MetricFamily& family, google::protobuf::RepeatedPtrField<v1::Count>* to) {
  for (const auto& metric : family.metric) {
    v1::Count& count = *to->Add();
    for (const auto& label : metric.label) (*count.mutable_labels())[label.name] = label.value;
    count.set_value(static_cast<std::uint64_t>(family.type == prometheus::MetricType::Gauge ? metric.gauge.value : metric.counter.value));
  }
}

void add_histograms(const prometheus::MetricFamily& family, google::protobuf::RepeatedPtrField<v1::Histogram>* to) {
  for (const auto& metric : family.metric) {
    if (metric.histogram.sample_count == 0) continue;
    v1::Histogram& h = *to->Add();
    for (const auto& label : metric.label) (*h.mutable_labels())[label.name] = label.value;
    h.set_count(metric.histogram.sample_count);
    h.set_sum_seconds(metric.histogram.sample_sum);
    std::uint64_t before = 0;
    for (const auto& bucket : metric.histogram.bucket) {
      if (bucket.upper_bound != std::numeric_limits<double>::infinity()) h.add_bounds_seconds(bucket.upper_bound);
      h.add_buckets(bucket.cumulative_count - before);
      before = bucket.cumulative_count;
    }
  }
}

}  // namespace

void Metrics::fill(v1::GetStatsResponse* stats) const {
  for (const auto& family : registry_->Collect()) {
    const auto value = [&] { return static_cast<std::uint64_t>(family.metric.empty() ? 0 : family.metric[0].counter.value); };
    if (family.name == "mrlease_leases") add_counts(family, stats->mutable_leases_by_backing());
    if (family.name == "mrlease_breaks_total") add_counts(family, stats->mutable_breaks());
    if (family.name == "mrlease_fences_total") add_counts(family, stats->mutable_fences());
    if (family.name == "mrlease_recalls_total") add_counts(family, stats->mutable_recalls());
    if (family.name == "mrlease_pages_written_total") stats->set_pages_written(value());
    if (family.name == "mrlease_page_conflicts_total") stats->set_page_conflicts(value());
    if (family.name == "mrlease_late_changes_total") stats->set_late_changes(value());
    if (family.name == "mrlease_leases_granted_total") stats->set_leases_granted(value());
    if (family.name == "mrlease_leases_refused_total") stats->set_leases_refused(value());
    if (family.name == "mrlease_foreign_wait_seconds") add_histograms(family, stats->mutable_foreign_wait());
    if (family.name == "mrlease_recall_seconds") add_histograms(family, stats->mutable_recall_time());
  }
}

}  // namespace mrlease::admin
