// SPDX-License-Identifier: Apache-2.0
// One WatchEvents stream. It lives in the office and gRPC's threads; the loop is not bothered.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "daemon/admin/events.h"
#include "daemon/admin/input.h"
#include "daemon/core/types.h"

namespace mrlease::admin {

using WatchReactor = grpc::ServerWriteReactor<v1::WatchEventsResponse>;

// Office thread only, but for begin().
class Watch final : public Events::Listener, public std::enable_shared_from_this<Watch> {
 public:
  Watch(Events& events, Office& office, grpc::CallbackServerContext* context, WatchQuery query)
      : events_(events), office_(office), context_(context), query_(std::move(query)) {}
  WatchReactor* begin();  // once
  void start(std::optional<core::FileKey> file);  // of this file only
  void finish(grpc::Status status);
  void more() override {
    pump();
    drop_idle();
  }

 private:
  class Reactor;
  void pump();
  void lost();
  void drop_idle();
  bool wanted(const session::Happening& happening) const;
  void write();

  Events& events_;
  Office& office_;
  grpc::CallbackServerContext* const context_;  // gRPC's; until finish()
  const WatchQuery query_;
  std::optional<core::FileKey> file_;
  Reactor* reactor_ = nullptr;
  std::uint64_t cursor_ = 0;  // the last that was looked at
  bool writing_ = false, over_ = false;
  v1::WatchEventsResponse message_;  // being written
};

}  // namespace mrlease::admin
