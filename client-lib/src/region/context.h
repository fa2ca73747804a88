// SPDX-License-Identifier: Apache-2.0
// A connection to the daemon with the library's threads, and what all regions share.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client-lib/src/connection/connection.h"
#include "client-lib/src/events/event_queue.h"
#include "client-lib/src/probe/caps_cache.h"
#include "client-lib/src/probe/probe.h"
#include "client-lib/src/uffd/pagemap.h"
#include "client-lib/src/uffd/resolver.h"
#include "client-lib/src/util/lane.h"

namespace mrlease::client {

class Region;

// Thread-safe.
class Context {
 public:
  struct Options {
    std::string socket_path;
    bool own_loop = false;
    mrl_callback callback = nullptr;
    void* user = nullptr;
  };
  static Outcome open(const Options& options, std::unique_ptr<Context>* out);
  // The same over a socket that is connected already.
  static Outcome open(wire::Fd socket, const Options& options, std::unique_ptr<Context>* out);
  ~Context();

  // The newest one: another after a reconnect.
  std::shared_ptr<Connection> connection() const;
  EventQueue& events() { return events_; }
  const Pagemap& pagemap() const { return pagemap_; }
  Resolver* resolver() { return resolver_.get(); }  // nullptr: userfaultfd is not granted
  const std::string& userfaultfd_reason() const { return userfaultfd_reason_; }
  std::uint32_t callback_deadline_ms() const { return callback_deadline_ms_; }

  // Recalls that wait for the application have a thread of their own: they must not hold up those that need nobody.
  Lane& asking_lane() { return asking_; }
  Lane& quiet_lane() { return quiet_; }

  void add(std::uint64_t lease, std::weak_ptr<Region> region);
  void remove(std::uint64_t lease, const Region* region);
  // The daemon's name for the device, told to it when it is used first; and the device's driver_id.
  Outcome use_device(ibv_context* device, std::uint32_t* number, std::uint32_t* driver_id);
  Outcome caps(ibv_context* device, DeviceCaps* out);  // probed once per device
  Outcome new_userfaultfd(Userfaultfd* out) const;
  // The file under a shared mapping of this process, by way of the daemon, opened with this process's rights. EOPNOTSUPP: the
  // daemon is too old; else its errors (daemon/session/client_mapping.h) and those of open(2).
  Outcome open_mapped(std::uint64_t address, bool writable, wire::Fd* file) const;
  bool merges_orphans() const;    // the daemon is new enough
  bool somebody_listens() const;  // at the daemon's socket
  std::atomic<std::uint64_t> leaked_mrs{0};  // destroyed by the daemon: their provider structs are kept, never freed

 private:
  Context(const Options& options);
  Outcome start(wire::Fd socket, const Options& options);
  Outcome greet(Connection& connection, wire::v1::Welcome* welcome, wire::Fd* userfaultfd_device);
  Outcome set_up_userfaultfd(wire::Fd device);
  Sinks sinks();
  void on_recall(wire::v1::Recall recall, wire::Fd store);
  void on_notice(const wire::v1::Notice& notice);
  void on_closed(const std::string& why);
  void on_resumed(std::uint32_t version);
  void hand_over_again();
  void give_up_again();
  // reconnect.cc: on the resuming lane
  void find_daemon_again();
  bool pause(std::chrono::milliseconds time);  // true: the context is being closed
  Outcome come_back();
  Outcome reclaim_all();
  Outcome reclaim_each();
  void reclaim_rest();
  void tell(mrl_event_type what, const std::string& why);
  std::shared_ptr<Region> find(std::uint64_t lease);

  // cmd_fd: a duplicate, to tell a device that was closed and opened again at the same address from the one that was
  // told.
  struct UsedDevice {
    std::uint32_t number = 0, driver_id = 0;
    wire::Fd cmd_fd;
  };
  EventQueue events_;
  Pagemap pagemap_;
  std::atomic<std::uint32_t> callback_deadline_ms_{0};
  wire::Fd userfaultfd_device_;
  std::string userfaultfd_reason_;
  std::unique_ptr<Resolver> resolver_;
  std::mutex mutex_;
  std::map<std::uint64_t, std::weak_ptr<Region>> regions_;
  std::vector<std::weak_ptr<Region>> unclaimed_;  // the resuming lane's: leases of a daemon that is gone
  bool has_leases_ = false;                       // the resuming lane's: the daemon of now has been asked for some
  std::atomic<std::uint32_t> version_{0};         // of the wire, with the daemon of now
  std::mutex devices_mutex_;  // held over a round trip: a device is told once
  std::map<ibv_context*, UsedDevice> devices_;
  CapsCache caps_;
  Lane asking_, quiet_, resuming_;
  const std::string socket_path_;     // empty: was connected by somebody else, who has to do it again
  std::atomic<bool> connected_{true};  // since the last DISCONNECTED, and back for good
  mutable std::mutex connection_mutex_;
  std::condition_variable closing_changed_;
  bool closing_ = false;                    // under connection_mutex_
  std::shared_ptr<Connection> connection_;  // under connection_mutex_. Last: its thread uses all of the above
};

}  // namespace mrlease::client
