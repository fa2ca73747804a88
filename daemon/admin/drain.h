// SPDX-License-Identifier: Apache-2.0
// No leases under a mount or directory any more.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "daemon/admin/resolve.h"
#include "daemon/sys/mounts.h"

namespace mrlease::admin {

// Used from the loop's thread only.
class Drainer {
 public:
  Drainer(asio::io_context& loop, session::AdminView& view, Resolver& resolver) : loop_(loop), view_(view), resolver_(resolver) {}

  void drain(const CallPtr& call, const v1::DrainRequest* request, v1::DrainResponse* response);
  void undrain(const CallPtr& call, const v1::UndrainRequest* request);

 private:
  struct Area {
    std::string path;
    int mount = -1;  // when the path is where it is mounted: everything that is open on it counts
    std::uint64_t device = 0;  // of its file system: what is open on a mount of a container's counts too
    bool operator==(const Area&) const = default;
  };
  struct Job;

  void find(const CallPtr& call, const std::string& path, std::function<void(Area)> then);
  static bool holds(const Area& area, const core::FileKey& key, int fd, const std::vector<sys::Mount>& own);
  std::vector<core::FileKey> files_in(const Area& area) const;
  void start(const std::shared_ptr<Job>& job);
  void revoke(const std::shared_ptr<Job>& job);
  void wait_closed(const std::shared_ptr<Job>& job);
  void end(const std::shared_ptr<Job>& job, bool drained);
  void ban(const Area& area);
  void lift(const Area& area);
  void publish();

  asio::io_context& loop_;
  session::AdminView& view_;
  Resolver& resolver_;
  std::vector<std::pair<Area, int>> banned_;  // and how many want it so
};

}  // namespace mrlease::admin
