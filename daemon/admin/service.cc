// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/service.h"

namespace mrlease::admin {

namespace {
// Calls that wait at once; a watcher is not one of them.
constexpr std::size_t kCallsMax = 1024;
}  // namespace

Service::Service(ServiceParts parts) : p_(std::move(parts)), resolver_(p_.loop, p_.view), drainer_(p_.loop, p_.view, resolver_, p_.drains) {}

void Service::admit(const CallPtr& call, const Begin& in_loop) {
  if (stopping_) return call->finish({grpc::StatusCode::UNAVAILABLE, "the daemon is stopping"});
  if (calls_.size() >= kCallsMax)
    return call->finish({grpc::StatusCode::RESOURCE_EXHAUSTED, std::to_string(kCallsMax) + " calls at once are the limit"});
  calls_.insert(call);
  call->at_end = [this, weak = std::weak_ptr(call)] { calls_.erase(weak.lock()); };
  in_loop(call);
}

Service::Unary* Service::begin(Context* context, grpc::Status checked, Begin in_loop) {
  if (!checked.ok()) {
    auto* reactor = context->DefaultReactor();
    reactor->Finish(std::move(checked));
    return reactor;
  }
  const auto call = std::make_shared<UnaryCall>(p_.loop, p_.office, context);
  auto* reactor = call->reactor();
  asio::post(p_.loop, [this, call, in_loop = std::move(in_loop)] {
    if (!call->over()) admit(call, in_loop);
  });
  return reactor;
}

void Service::stop() {
  stopping_ = true;
  const auto calls = calls_;
  for (const auto& call : calls) call->finish({grpc::StatusCode::UNAVAILABLE, "the daemon is stopping"});
  p_.office.post([watches = std::move(watches_)] {
    for (const auto& weak : watches)
      if (const auto watch = weak.lock()) watch->finish({grpc::StatusCode::UNAVAILABLE, "the daemon is stopping"});
  });
}

}  // namespace mrlease::admin
