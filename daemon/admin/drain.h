// SPDX-License-Identifier: Apache-2.0
// No leases under a mount or directory any more.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "daemon/admin/resolve.h"
#include "daemon/keep/records.h"
#include "daemon/keep/table.h"
#include "daemon/sys/mounts.h"

namespace mrlease::admin {

using Drains = keep::Table<keep::DrainRecord>;

// Used from the loop's thread only.
class Drainer {
 public:
  // kept: what outlives the daemon, or nullptr; a predecessor's drains go on.
  Drainer(asio::io_context& loop, session::AdminView& view, Resolver& resolver, Drains* kept);

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
  struct Ban {
    Area area;
    int wanted = 1;                   // by so many
    keep::Slot slot = keep::kNoSlot;  // it outlives the daemon: not the ban of a call that may yet fail
  };

  void find(const CallPtr& call, const std::string& path, std::function<void(Area)> then);
  static bool holds(const Area& area, const core::FileKey& key, int fd, const std::vector<sys::Mount>& own);
  std::vector<core::FileKey> files_in(const Area& area) const;
  void start(const std::shared_ptr<Job>& job);
  void revoke(const std::shared_ptr<Job>& job);
  void wait_closed(const std::shared_ptr<Job>& job);
  void end(const std::shared_ptr<Job>& job, bool drained);
  bool ban(const Area& area);  // false: too many
  void keep(const Area& area);
  void lift(const Area& area);
  void erase(std::vector<Ban>::iterator ban);
  std::vector<Ban>::iterator find_ban(const std::string& path);
  void publish();

  asio::io_context& loop_;
  session::AdminView& view_;
  Resolver& resolver_;
  Drains* kept_;
  std::vector<Ban> banned_;
};

}  // namespace mrlease::admin
