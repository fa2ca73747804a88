// SPDX-License-Identifier: Apache-2.0
// From a file's name to the file. A path's lookup may hang (NFS, FUSE): it is done in a worker that can be abandoned.
#pragma once

#include <grpcpp/support/status.h>

#include <functional>
#include <string>

#include "daemon/admin/call.h"
#include "daemon/admin/input.h"
#include "daemon/session/admin_view.h"
#include "daemon/session/worker_pool.h"

namespace mrlease::admin {

struct Target {
  core::FileKey key;
  fence::SharedFd fd;  // Wants::Key: perhaps by O_PATH, perhaps none
};

enum class Wants {
  Key,        // which file
  Descriptor  // also something to fsync
};

// Blocking. Finds the file without opening it: O_PATH makes no event of our own guard and breaks no file lease.
grpc::Status look_up(const std::string& field, const std::string& path, fence::SharedFd* by_path, core::FileKey* key);
// Blocking. Opens a file that was found so, for reading.
grpc::Status open_found(const std::string& field, const fence::SharedFd& by_path, fence::SharedFd* fd);
// A directory or mount: its canonical path and a descriptor.
grpc::Status look_up_directory(const std::string& field, const std::string& path, fence::SharedFd* fd, std::string* canonical);

// Used from the loop's thread only.
class Resolver {
 public:
  Resolver(asio::io_context& loop, session::AdminView& view) : loop_(loop), view_(view) {}

  // `then` runs in the loop; not at all when the call is over by then. A mistake ends the call.
  void resolve(const CallPtr& call, const std::string& field, const FileName& name, Wants wants, std::function<void(Target)> then);
  // Without a call. A file system that does not answer: never.
  void resolve(const std::string& field, const FileName& name, Wants wants, std::function<void(grpc::Status, Target)> then);
  // work runs in a worker, then in the loop.
  void in_worker(std::function<void()> work, std::function<void()> then);
  // The same for work that a call's path may hang: ends the call when every worker does; `then` does not run when the call is over
  // by then.
  void in_worker(const CallPtr& call, std::function<void()> work, std::function<void()> then);

 private:
  grpc::Status can_work() const;  // OK when a worker is free

  asio::io_context& loop_;
  session::AdminView& view_;
  // Its own: paths that hang must not take the broker's workers away.
  static constexpr int kWorkers = 64;
  session::WorkerPool workers_{kWorkers};
  int under_way_ = 0;
};

}  // namespace mrlease::admin
