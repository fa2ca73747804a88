// SPDX-License-Identifier: Apache-2.0
// What the daemon holds of one client and of each of its leases. Data; the broker acts on it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "daemon/core/events.h"
#include "daemon/fence/fence.h"
#include "daemon/keep/table.h"
#include "daemon/session/account.h"
#include "daemon/session/connection.h"
#include "daemon/store/file_work.h"

namespace mrlease::session {

struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct Device {
  fence::SharedFd uverbs;
  std::uint32_t driver_id = 0;
  std::string name;
};

// A memfd that is, or may be, mapped over a part of a lease's range in the client.
struct Store {
  std::uint64_t id = 0;
  core::Extent extent;  // of the file
  fence::SharedFd memfd;
  bool trim = false;    // made for a Trim: goes with its Settle. Else for a Freeze: goes with its Thaw
  bool live = true;     // a device may have written to it. direct: only once the client has said that it uses it
  keep::Slot slot = keep::kNoSlot;
  Charge charge{};
  bool complied = false;  // the client has said that it uses it
  bool ending = false;    // the client has been asked to give it up
};

// The store that this Thaw or Settle ends; nullptr: there is none. A lease has several of one extent after operations that
// were denied since its client complied too late: each is ended once, first those that the client is known to use.
inline Store* store_to_end(std::vector<Store>& stores, core::Action action, std::uint64_t begin) {
  Store* found = nullptr;
  for (Store& s : stores) {
    const bool wanted = action == (s.trim ? core::Action::Settle : core::Action::Thaw);
    if (!wanted || s.ending || s.extent.begin != begin) continue;
    if (found == nullptr || (s.complied && !found->complied)) found = &s;
  }
  return found;
}

struct LeaseMr {
  std::uint32_t device = 0;
  fence::Mr mr;
  keep::Slot slot = keep::kNoSlot;
};

// A leased file's open description, kept for a successor: once, however many leases a client takes with it, since the
// service manager keeps each description under its first name only.
struct KeptFile {
  std::uint64_t number = 0;
  fence::SharedFd fd;
  std::function<void()> drop;
  ~KeptFile() {
    if (drop) drop();
  }
};

// Everything the daemon holds for a lease. The bounce pages and stores are shared with workers.
struct LeaseHold {
  core::LeaseId id = 0;
  core::SessionId session = 0;
  uid_t user = 0;
  Charge charge;                // until it is dropped, also when its session has ended
  std::set<core::RecallId> recalls;  // not answered
  core::RequestId request = 0;  // the frame that asked for it
  core::FileKey file;
  core::Extent extent;
  core::Backing backing = core::Backing::Bounce;
  bool write = false;
  bool share = false;
  ClientLimits limits;       // what its client is to keep to, by the rule of when it asked
  fence::SharedFd fd;
  std::shared_ptr<KeptFile> kept_file;
  keep::Slot slot = keep::kNoSlot;
  store::Truncates truncates = store::Truncates::Possible;  // Held: the guard holds them all
  std::shared_ptr<store::Bounce> bounce;
  std::vector<LeaseMr> mrs;
  bool handed_back = false;             // an MR was given back to the client, which may not have deregistered it yet
  std::vector<Store> stores;
  bool reclaimed = false;               // from a daemon that is gone
  std::uint64_t end_reclaimed = 0;      // a reclaimed one's: its end on the file, as the client said
  bool mrs_told = false;                // a reclaimed one has memory regions before the daemon hears of them
  fence::SharedFd clients_memory;       // reclaimed bounce pages, until they are taken
  std::uint64_t size_told = 0;  // the end on the file, as the client knows it
  std::atomic<bool> fencing = false;  // from the start of a fence: no MR is added or handed back, no merge begins
  bool destroyed = false;             // the fence is through
  std::vector<std::function<void()>> after_fence;   // who waits for the fence that runs
  bool rescuing = false;
  std::vector<std::function<void(int code)>> after_rescue;  // who waits for the rescue that runs
  bool merging = false;               // a Merge of the client is with a worker: one at a time
  std::vector<core::effect::StartWork> parked;      // bounce: works that came before its pages were there
  std::mutex file_mutex;              // workers that write a store to the file, one at a time
};

struct Session {
  core::SessionId id = 0;
  Peer peer;
  std::string program;
  std::shared_ptr<Connection> connection;
  std::shared_ptr<asio::posix::stream_descriptor> exit_watch;  // on pidfd
  fence::SharedFd pidfd;
  fence::SharedFd userfaultfd;
  std::uint32_t version = 0;  // of the wire
  bool greeted = false;
  keep::Slot slot = keep::kNoSlot;
  bool adopted = false;        // a predecessor's
  bool resuming = false;       // until its client has said Resumed: then `seen` are the requests that came to us
  std::set<std::uint64_t> seen;
  bool gone = false;
  std::map<std::uint32_t, Device> devices;
  std::uint32_t next_device = 1;
  Charge charge;
  std::set<core::LeaseId> leases;
  std::set<core::BreakId> freezes;
  std::uint64_t next_frame = 1;
  bool naming = false;         // a NameMapped is with a worker: one at a time
};

}  // namespace mrlease::session
