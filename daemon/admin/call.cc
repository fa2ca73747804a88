// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/call.h"

namespace mrlease::admin {

class UnaryCall::Reactor final : public grpc::ServerUnaryReactor {
 public:
  explicit Reactor(std::shared_ptr<Call> call) : call_(std::move(call)) {}
  void OnCancel() override { call_->cancelled(); }
  void OnDone() override {
    call_->done();
    delete this;
  }

 private:
  std::shared_ptr<Call> call_;
};

grpc::ServerUnaryReactor* UnaryCall::reactor() {
  reactor_ = new Reactor(shared_from_this());
  return reactor_;
}

void UnaryCall::give(const grpc::Status& status) { std::exchange(reactor_, nullptr)->Finish(status); }

void Call::finish(grpc::Status status) {
  if (over_) return;
  over_ = true;
  on_cancel_ = nullptr;
  if (at_end) std::exchange(at_end, nullptr)();
  office_.post([self = shared_from_this(), status = std::move(status)] { self->give(status); });
}

void Call::cancelled() {
  asio::post(loop_, [self = shared_from_this()] {
    if (self->over_) return;
    if (auto f = std::exchange(self->on_cancel_, nullptr)) f();
    const bool late = std::chrono::system_clock::now() >= self->context_->deadline();
    self->finish(late ? grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "the call's deadline has passed")
                      : grpc::Status(grpc::StatusCode::CANCELLED, "the caller has gone"));
  });
}

void Call::done() {
  const bool lost = context_->IsCancelled();
  asio::post(loop_, [self = shared_from_this(), lost] {
    auto f = std::exchange(self->on_lost_, nullptr);
    if (f && lost) f();
  });
}

}  // namespace mrlease::admin
