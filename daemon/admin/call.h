// SPDX-License-Identifier: Apache-2.0
// One call of a client of the admin service, between gRPC's threads and the loop.
//
// gRPC owns the reactor, which is gone after finish() was carried out; a Call outlives it, so that an answer which comes
// for a call that was cancelled finds something to talk to.
#pragma once

#include <grpcpp/grpcpp.h>

#include <asio.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "daemon/admin/office.h"

namespace mrlease::admin {

// Loop thread only, except where it says otherwise.
class Call : public std::enable_shared_from_this<Call> {
 public:
  Call(asio::io_context& loop, Office& office, grpc::CallbackServerContext* context) : loop_(loop), office_(office), context_(context) {}
  virtual ~Call() = default;

  bool over() const { return over_; }
  // The caller has gone, or its deadline has passed, before finish(). The call is over by itself then.
  void on_cancel(std::function<void()> f) { on_cancel_ = std::move(f); }
  // The answer was given and never reached the caller.
  void on_lost(std::function<void()> f) { on_lost_ = std::move(f); }
  void finish(grpc::Status status);
  std::chrono::system_clock::time_point deadline() const { return context_->deadline(); }  // until finish()
  asio::io_context& loop() { return loop_; }

  // From the reactor, in gRPC's threads.
  void cancelled();
  void done();
  std::function<void()> at_end;  // finish() calls it, in the loop

 protected:
  virtual void give(const grpc::Status& status) = 0;  // in the office

  asio::io_context& loop_;
  Office& office_;
  grpc::CallbackServerContext* context_;
  bool over_ = false;

 private:
  std::function<void()> on_cancel_, on_lost_;
};
using CallPtr = std::shared_ptr<Call>;

class UnaryCall final : public Call {
 public:
  using Call::Call;
  grpc::ServerUnaryReactor* reactor();  // once

 private:
  class Reactor;
  void give(const grpc::Status& status) override;
  Reactor* reactor_ = nullptr;
};

// A stream of few messages, made in the loop.
template <typename Message>
class StreamCall final : public Call {
 public:
  using Call::Call;
  grpc::ServerWriteReactor<Message>* reactor() {
    reactor_ = new Reactor(std::static_pointer_cast<StreamCall>(shared_from_this()));
    return reactor_;
  }
  void write(Message message) {
    if (over_) return;
    office_.post([self = std::static_pointer_cast<StreamCall>(shared_from_this()), message = std::move(message)]() mutable {
      self->queue_.push_back(std::move(message));
      self->next();
    });
  }

 private:
  class Reactor final : public grpc::ServerWriteReactor<Message> {
   public:
    explicit Reactor(std::shared_ptr<StreamCall> call) : call_(std::move(call)) {}
    void OnWriteDone(bool) override {
      call_->office_.post([call = call_] {
        call->queue_.pop_front();
        call->writing_ = false;
        call->next();
      });
    }
    void OnCancel() override { call_->cancelled(); }
    void OnDone() override {
      call_->done();
      delete this;
    }

   private:
    std::shared_ptr<StreamCall> call_;
  };
  void give(const grpc::Status& status) override {
    status_ = status;
    ending_ = true;
    next();
  }
  void next() {  // office
    if (writing_ || reactor_ == nullptr) return;
    if (!queue_.empty()) {
      writing_ = true;
      reactor_->StartWrite(&queue_.front());
    } else if (ending_) {
      std::exchange(reactor_, nullptr)->Finish(status_);
    }
  }

  // Of the office, but for the start.
  Reactor* reactor_ = nullptr;
  std::deque<Message> queue_;
  bool writing_ = false, ending_ = false;
  grpc::Status status_;
};

}  // namespace mrlease::admin
