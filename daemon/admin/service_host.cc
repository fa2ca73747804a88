// SPDX-License-Identifier: Apache-2.0
// The daemon and its host: events, drain, probe, numbers, options.
#include "daemon/admin/probe.h"
#include "daemon/admin/service.h"
#include "daemon/admin/version.h"
#include "daemon/admin/words.h"

namespace mrlease::admin {

namespace {

constexpr std::size_t kWatchesMax = 256;
constexpr std::size_t kChangesMax = 1000;  // ReloadResponse.leases: a message of gRPC's has 4 MiB
const auto kStarted = std::chrono::system_clock::now();
const auto kStartedMono = std::chrono::steady_clock::now();

template <typename Names>
void add(const Names& names, google::protobuf::RepeatedPtrField<std::string>* to) {
  for (const auto& name : names) *to->Add() = name;
}

}  // namespace

grpc::ServerWriteReactor<v1::WatchEventsResponse>* Service::WatchEvents(Context* context, const v1::WatchEventsRequest* request) {
  WatchQuery query;
  auto checked = check(*request, &query);
  const auto watch = std::make_shared<Watch>(p_.events, p_.office, context, query);
  auto* reactor = watch->begin();
  const auto finish = [this, watch](grpc::Status status) { p_.office.post([=] { watch->finish(status); }); };
  if (!checked.ok()) {
    finish(std::move(checked));
    return reactor;
  }
  asio::post(p_.loop, [=, this] {
    if (stopping_) return finish({grpc::StatusCode::UNAVAILABLE, "the daemon is stopping"});
    std::erase_if(watches_, [](const auto& weak) { return weak.expired(); });
    if (watches_.size() >= kWatchesMax)
      return finish({grpc::StatusCode::RESOURCE_EXHAUSTED, std::to_string(kWatchesMax) + " watchers at once are the limit"});
    watches_.push_back(watch);
    // Nothing that happens from here on is missed: what has happened so far is in the ring first.
    p_.view.chronicle().flush();
    if (query.file.empty()) return p_.office.post([watch] { watch->start({}); });
    resolver_.resolve("file", query.file, Wants::Key, [=, this](grpc::Status status, Target target) {
      if (!status.ok()) return finish(std::move(status));
      p_.view.chronicle().flush();
      p_.office.post([=] { watch->start(target.key); });
    });
  });
  return reactor;
}

Service::Unary* Service::Drain(Context* context, const v1::DrainRequest* request, v1::DrainResponse* response) {
  return begin(context, check_path("path", request->path()),
               [=, this](const CallPtr& call) { drainer_.drain(call, request, response); });
}

Service::Unary* Service::Undrain(Context* context, const v1::UndrainRequest* request, v1::UndrainResponse*) {
  return begin(context, check_path("path", request->path()), [=, this](const CallPtr& call) { drainer_.undrain(call, request); });
}

Service::Unary* Service::Probe(Context* context, const v1::ProbeRequest* request, v1::ProbeResponse* response) {
  auto checked = request->path().empty() ? grpc::Status() : check_path("path", request->path());
  return begin(context, std::move(checked), [=, this, path = request->path()](const CallPtr& call) {
    auto found = std::make_shared<v1::ProbeResponse>();
    auto guard = p_.view.guard_text();
    resolver_.in_worker(
        call,
        [found, path, guard, roots = p_.roots] {
          probe_host(guard, found.get());
          for (const auto& root : roots) probe_filesystem(root, true, found.get());
          if (!path.empty()) probe_filesystem(path, false, found.get());
          probe_devices("/sys", found.get());
        },
        [call, found, response] {
          response->Swap(found.get());
          call->finish({});
        });
  });
}

Service::Unary* Service::GetStats(Context* context, const v1::GetStatsRequest*, v1::GetStatsResponse* response) {
  return begin(context, {}, [=, this](const CallPtr& call) {
    p_.view.chronicle().flush();
    fill(response->mutable_started(), kStarted);
    fill(response->mutable_uptime(), std::chrono::steady_clock::now() - kStartedMono);
    response->set_version(kVersion);
    const auto totals = p_.view.totals();
    response->set_sessions(totals.sessions);
    response->set_files(totals.files);
    response->set_leases(totals.leases);
    response->set_breaks_pending(totals.breaks);
    response->set_freezes_holding(totals.freezes);
    response->set_bounce_bytes(totals.bounce_bytes);
    // Behind what was just flushed, so that numbers and events agree.
    p_.office.post([=, this] {
      auto counted = std::make_shared<v1::GetStatsResponse>();
      p_.metrics.fill(counted.get());
      const auto bounds = p_.events.bounds();
      counted->set_event_sequence(bounds.head);
      counted->set_event_oldest(bounds.oldest);
      counted->set_watchers(p_.events.listeners());
      asio::post(p_.loop, [call, response, counted] {
        if (call->over()) return;
        response->MergeFrom(*counted);
        call->finish({});
      });
    });
  });
}

Service::Unary* Service::GetConfig(Context* context, const v1::GetConfigRequest*, v1::GetConfigResponse* response) {
  return begin(context, {}, [=, this](const CallPtr& call) {
    response->set_file(p_.configuration.file());
    for (const auto& facts : p_.configuration.options()) {
      v1::Option& option = *response->add_options();
      option.set_name(facts.name);
      add(facts.values, option.mutable_values());
      add(facts.defaults, option.mutable_defaults());
      option.set_source(facts.source);
      option.set_reloadable(facts.reloadable);
      option.set_description(facts.description);
    }
    call->finish({});
  });
}

Service::Unary* Service::Reload(Context* context, const v1::ReloadRequest* request, v1::ReloadResponse* response) {
  return begin(context, {}, [=, this, dry_run = request->dry_run()](const CallPtr& call) {
    const auto answer = [=, this](const Reloaded& result) {
      if (call->over()) return;
      if (!result.error.empty()) return call->finish({grpc::StatusCode::FAILED_PRECONDITION, result.error});
      add(result.changed, response->mutable_changed());
      add(result.needs_restart, response->mutable_needs_restart());
      if (result.would_be) add_changes(*result.would_be, response);
      call->finish({});
    };
    // SIGHUP comes to the same place as reload, which also writes it into the chronicle.
    dry_run ? p_.configuration.try_out(answer) : p_.configuration.reload(answer);
  });
}

void Service::add_changes(const session::Options& would_be, v1::ReloadResponse* response) const {
  const auto changes = p_.view.would_change(would_be);
  response->set_leases_total(changes.size());
  for (std::size_t i = 0; i < std::min(changes.size(), kChangesMax); i++) fill(response->add_leases(), changes[i]);
}

}  // namespace mrlease::admin
