// SPDX-License-Identifier: Apache-2.0
// mrlease.admin.v1.Admin. A call comes in one of gRPC's threads, where its input is checked; everything else happens in
// the loop, and the answer goes out through the office.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "admin.grpc.pb.h"
#include "daemon/admin/call.h"
#include "daemon/admin/configuration.h"
#include "daemon/admin/drain.h"
#include "daemon/admin/events.h"
#include "daemon/admin/metrics.h"
#include "daemon/admin/resolve.h"
#include "daemon/admin/watch.h"
#include "daemon/session/admin_view.h"

namespace mrlease::admin {

struct ServiceParts {
  asio::io_context& loop;
  session::AdminView& view;
  Office& office;
  Events& events;
  Metrics& metrics;
  Configuration configuration;
  std::vector<std::string> roots;
  Drains* drains;
};

// The overrides are called by gRPC's threads; the rest is the loop's.
class Service final : public v1::Admin::CallbackService {
 public:
  explicit Service(ServiceParts parts);
  // Every call ends with UNAVAILABLE, and new ones do.
  void stop();

  using Context = grpc::CallbackServerContext;
  using Unary = grpc::ServerUnaryReactor;
  // service_lists.cc
  Unary* ListLeases(Context*, const v1::ListLeasesRequest*, v1::ListLeasesResponse*) override;
  Unary* GetLease(Context*, const v1::GetLeaseRequest*, v1::Lease*) override;
  Unary* ListFiles(Context*, const v1::ListFilesRequest*, v1::ListFilesResponse*) override;
  // service_breaks.cc
  Unary* Sync(Context*, const v1::SyncRequest*, v1::SyncResponse*) override;
  Unary* Freeze(Context*, const v1::FreezeRequest*, v1::FreezeResponse*) override;
  grpc::ServerWriteReactor<v1::HoldFreezeResponse>* HoldFreeze(Context*, const v1::FreezeRequest*) override;
  Unary* Thaw(Context*, const v1::ThawRequest*, v1::ThawResponse*) override;
  Unary* Revoke(Context*, const v1::RevokeRequest*, v1::RevokeResponse*) override;
  // service_host.cc
  grpc::ServerWriteReactor<v1::WatchEventsResponse>* WatchEvents(Context*, const v1::WatchEventsRequest*) override;
  Unary* Drain(Context*, const v1::DrainRequest*, v1::DrainResponse*) override;
  Unary* Undrain(Context*, const v1::UndrainRequest*, v1::UndrainResponse*) override;
  Unary* Probe(Context*, const v1::ProbeRequest*, v1::ProbeResponse*) override;
  Unary* GetStats(Context*, const v1::GetStatsRequest*, v1::GetStatsResponse*) override;
  Unary* GetConfig(Context*, const v1::GetConfigRequest*, v1::GetConfigResponse*) override;
  Unary* Reload(Context*, const v1::ReloadRequest*, v1::ReloadResponse*) override;

 private:
  struct Scan;
  using Begin = std::function<void(const CallPtr&)>;
  // A checked call goes to the loop; a mistake is answered at once.
  Unary* begin(Context* context, grpc::Status checked, Begin in_loop);
  void admit(const CallPtr& call, const Begin& in_loop);
  void scan(const CallPtr& call, std::shared_ptr<Scan> job);
  void list_files(const CallPtr& call, const FileQuery& query, std::optional<core::FileKey> only, v1::ListFilesResponse* response);
  void add_changes(const session::Options& would_be, v1::ReloadResponse* response) const;
  void freeze(const CallPtr& call, const v1::FreezeRequest* request, std::string who, std::function<void(core::BreakId, v1::FreezeResponse)> holds,
              std::function<void(std::string)> over);

  ServiceParts p_;
  Resolver resolver_;
  Drainer drainer_;
  std::set<CallPtr> calls_;
  std::vector<std::weak_ptr<Watch>> watches_;
  bool stopping_ = false;
};

}  // namespace mrlease::admin
