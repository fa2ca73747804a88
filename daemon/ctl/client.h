// SPDX-License-Identifier: Apache-2.0
// The connection to the daemon, and what its answers mean for the exit status.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "admin.grpc.pb.h"

namespace mrlease::ctl {

namespace v1 = admin::v1;

inline constexpr std::chrono::milliseconds kQuestion{30000};  // of a call that waits for nobody
enum Exit { kDone = 0, kRefused = 1, kUsage = 2, kNoDaemon = 3, kDeadline = 4 };

// Ends the command: a sentence, and the exit status.
struct Failed {
  int status;
  std::string text;
};

struct Target {
  std::string address = "/run/mrlease/admin.sock";  // a path: a Unix socket; else host:port
  std::string ca, certificate, key;                 // files, PEM; for host:port
  std::optional<std::chrono::milliseconds> timeout;  // of a call
};

class Client {
 public:
  // Throws Failed when the daemon cannot be reached or the target makes no sense.
  explicit Client(Target target);

  v1::Admin::Stub& stub() { return *stub_; }
  // For one call; without_timeout: only when the user set one.
  std::unique_ptr<grpc::ClientContext> context(std::chrono::milliseconds without_timeout) const;
  std::unique_ptr<grpc::ClientContext> unbounded() const;
  const Target& target() const { return target_; }
  Failed failure(const grpc::Status& status) const;

  // A call with one answer. Throws Failed.
  template <typename Request, typename Response>
  Response call(grpc::Status (v1::Admin::Stub::*method)(grpc::ClientContext*, const Request&, Response*), const Request& request,
                std::chrono::milliseconds timeout = kQuestion) {
    Response response;
    const auto c = context(timeout);
    const grpc::Status status = (stub_.get()->*method)(c.get(), request, &response);
    if (!status.ok()) throw failure(status);
    return response;
  }

 private:
  Target target_;
  std::unique_ptr<v1::Admin::Stub> stub_;
};

}  // namespace mrlease::ctl
