// SPDX-License-Identifier: Apache-2.0
// A stream of answers, read in a thread of its own, so that signals and children can be waited for beside it.
#pragma once

#include <grpcpp/grpcpp.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "daemon/sys/fd.h"

namespace mrlease::ctl {

template <typename Message>
class Stream {
 public:
  Stream(std::unique_ptr<grpc::ClientContext> context, std::unique_ptr<grpc::ClientReader<Message>> reader)
      : context_(std::move(context)), reader_(std::move(reader)), event_(::eventfd(0, EFD_CLOEXEC)), thread_([this] { run(); }) {}
  // Ends the call: the daemon sees it cancelled.
  ~Stream() {
    context_->TryCancel();
    thread_.join();
  }

  int fd() const { return event_.get(); }  // readable: look with next()
  // A message; nothing: none now. *ended: nothing will come any more, status() says why.
  std::optional<Message> next(bool* ended) {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t n = ::read(event_.get(), &count, sizeof count);
    std::lock_guard lock(mutex_);
    *ended = false;
    if (messages_.empty()) {
      *ended = ended_;
      if (ended_) ring();
      return {};
    }
    Message first = std::move(messages_.front());
    messages_.pop_front();
    if (!messages_.empty() || ended_) ring();
    return first;
  }
  grpc::Status status() {
    std::lock_guard lock(mutex_);
    return status_;
  }

 private:
  void ring() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(event_.get(), &one, sizeof one);
  }
  void run() {
    Message message;
    while (reader_->Read(&message)) {
      std::lock_guard lock(mutex_);
      messages_.push_back(std::move(message));
      ring();
    }
    const grpc::Status status = reader_->Finish();
    std::lock_guard lock(mutex_);
    status_ = status;
    ended_ = true;
    ring();
  }

  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReader<Message>> reader_;
  std::mutex mutex_;  // guards what follows
  std::deque<Message> messages_;
  bool ended_ = false;
  grpc::Status status_;
  sys::Fd event_;
  std::thread thread_;
};

}  // namespace mrlease::ctl
