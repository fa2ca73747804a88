// SPDX-License-Identifier: Apache-2.0
// What is counted, under Prometheus' names; GetStats and the scrape show the same registry.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <memory>
#include <set>

#include "admin.pb.h"
#include "daemon/session/chronicle.h"
#include "daemon/session/happening.h"

namespace mrlease::admin {

// Fed by one thread (the office); read by any.
class Metrics {
 public:
  Metrics();
  // What is there before anything happens: once, before the first see().
  void found(const session::Chronicle& chronicle);
  void see(const session::Happening& happening);
  std::shared_ptr<prometheus::Registry> registry() const { return registry_; }
  // The counters and histograms; what is so now is the caller's to fill in.
  void fill(v1::GetStatsResponse* stats) const;

 private:
  struct Seer;
  using Labels = std::map<std::string, std::string>;
  void start_at_zero();
  void lease_granted(const session::LeaseNote& lease);
  void lease_is_there(const session::LeaseNote& lease);
  void lease_ended(const session::LeaseNote& lease);
  void break_done(const session::happening::BreakDone& done);
  void recall_over(const session::RecallNote& recall);

  std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Family<prometheus::Gauge>*leases_;
  prometheus::Family<prometheus::Counter>*breaks_, *fences_, *recalls_;
  prometheus::Family<prometheus::Histogram>*wait_, *recall_time_;
  prometheus::Gauge *sessions_, *files_, *pending_, *bounce_bytes_, *freezes_;
  prometheus::Counter *granted_, *refused_, *pages_, *conflicts_, *late_, *reports_;
  std::map<core::FileKey, std::size_t> files_held_;
  std::set<core::BreakId> holding_now_;
};

}  // namespace mrlease::admin
