// SPDX-License-Identifier: Apache-2.0
// A client process: the library's protocol, what its memory maps where, and an application of some nature.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "client-lib/src/protocol/frames.h"
#include "client-lib/src/region/posting_guard.h"
#include "client-lib/src/region/segments.h"
#include "daemon/core/types.h"
#include "tests/sim/message.h"

namespace mrlease::sim {

namespace protocol = client::protocol;
struct World;
using core::Time;

// Honest: complies in time, always. The others do so only sometimes.
enum class Nature { Honest, Slow, Hung, Liar, Refuser, Crasher };

// What a device can reach until somebody destroys it: whoever that is.
struct Mr {
  std::uint32_t handle = 0;
  bool alive = true;
  core::Extent reach;  // of the file
};

struct Region {
  struct Held {
    std::shared_ptr<Pages> store;
    bool copies = false;  // cooperative: what was written is in private copies, which die with the process
    Pages own;
    Pages& pages() { return copies ? own : *store; }
  };
  Region(u64 id, File& f, core::Extent e, core::Backing b, bool w)
      : lease(id), file(&f), extent(e), backing(b), write(w), size(e.end), segments((e.end - e.begin + kPage - 1) / kPage) {}
  u64 lease;
  core::SessionId session = 0;  // in which it was granted
  File* file;
  core::Extent extent;
  core::Backing backing;
  bool write;
  bool share = false;
  u64 size;  // the file ends here for it
  std::shared_ptr<Mr> mr;
  bool usable = false;  // the daemon knows of the MR, so the application has its keys
  client::Segments segments;
  client::PostingGuard guard;
  std::map<u64, Held> held;
  std::shared_ptr<Pages> bounce;
  bool quiet = false;  // the application has told its peers to hold
  bool fenced = false, gone = false;
  bool given_up = false;  // by the daemon's order
  bool lied = false;   // what becomes of its range is its own fault
  u64 grants = 1;      // the daemons that have granted it: an older one's recalls are void
  u64 generation = 0;  // of its keys
  bool reclaiming = false;
  std::vector<std::function<void()>> after_reclaim;
  std::function<void()> drained;
  u64 first() const { return extent.begin / kPage; }
  client::Segment at(u64 page) const { return segments.in(page - first(), page - first() + 1).front(); }
  void surrender();                   // private copies go into the store: the daemon may still merge it
  bool reaches(u64 page) const;       // a device, anything
  bool reaches_file(u64 page) const;  // a device, the file's own page
};

class Client {
 public:
  Client(World& world, unsigned number);

  // What it does by itself.
  void ask_for_lease(u64 luck);
  void release(u64 luck);
  void extend(u64 luck);
  void rdma_write(u64 luck);
  void post(u64 luck);  // between mrl_enter() and mrl_leave() for a while
  void sync(u64 luck);
  void freeze(u64 luck);
  void thaw(u64 luck);
  void forge(u64 luck);  // answers what others were asked
  void stop() { stopped_ = true; }
  void go_on();
  void die();
  void hung_up(core::SessionId session);  // by the daemon, or it is gone
  void wake();  // from now on it does what it is asked to

  void on_packet(Message message);
  void fenced_by_kernel(u64 lease);

  unsigned number() const { return number_; }
  std::uint32_t user() const { return number_ / 2; }
  Nature nature() const { return nature_; }
  bool dead() const { return dead_; }
  bool stopped() const { return stopped_; }
  core::SessionId session() const { return session_; }
  u64 process() const { return life_; }
  const std::vector<core::SessionId>& sessions() const { return sessions_; }  // of the process
  bool finding() const { return finding_; }
  const std::map<u64, std::shared_ptr<Region>>& regions() const { return regions_; }

 private:
  using Ptr = std::shared_ptr<Region>;
  using Done = std::function<void(int code)>;
  using Then = std::function<void(const wire::Frame& reply)>;
  struct Waiting {
    wire::Frame frame;
    std::shared_ptr<Pages> memory;
    const File* file;
    Then then;
    Ptr reclaims;
  };
  struct Order {
    wire::v1::Recall recall;
    std::shared_ptr<Pages> store;
    core::SessionId session = 0;
    u64 grants = 0, resumes = 0;
  };

  bool connect();
  bool meet_daemon();
  void call(wire::Frame frame, Then then, std::shared_ptr<Pages> memory = {}, const File* file = nullptr, Ptr reclaims = {});
  void call_granter(const Ptr& r, wire::Frame frame, Then then);
  void forget(const Ptr& r);
  void send(wire::Frame frame, std::shared_ptr<Pages> memory = {}, const File* file = nullptr, Ptr reclaims = {});
  void later(Time delay, std::function<void()> what);
  void handle(const Message& message);
  void on_resume(u64 start);
  void granted(const wire::Frame& reply, File& file, const protocol::LeaseRequest& asked, std::shared_ptr<Pages> memory);
  Ptr some_region(Dice& dice) const;
  std::vector<Ptr> all_regions() const;

  // client_reclaim.cc
  void find_daemon_again(Time pause);
  void reclaim_each();
  void reclaim_next(std::vector<Ptr> left);
  void reclaim(const Ptr& r, const Done& done);
  void come_back(const Ptr& r, const Done& done);
  void ask_again(const Ptr& r, const Done& done);
  void reclaim_mr(const Ptr& r, u64 file_size, const Done& done);
  void lose(const Ptr& r, bool taken, const Done& done);
  void merge_locally(const Ptr& r, const Done& done);
  void all_back_to_file(const Ptr& r);

  // client_recalls.cc
  void in_lane(std::function<void(std::function<void()> done)> job);
  void next_in_lane();
  void on_recall(const wire::v1::Recall& recall, std::shared_ptr<Pages> store);
  void serve(const Ptr& r, const Order& order, std::function<void()> done);
  bool misbehaves(const Ptr& r, const Order& order, const std::function<void()>& done);
  void answer(const Order& order, int code);
  void release_given_up(const Ptr& r);
  void comply(const Ptr& r, const Order& order, const Done& done);
  void quiesce(const Ptr& r, std::function<void()> then);
  void drop_mr(const Ptr& r, const Done& done);
  void make_mr(const Ptr& r, const Done& done);
  void restored(const Ptr& r);
  void reregister(const Ptr& r, const Order& order, const Done& done);
  void move_to_store(const Ptr& r, const Order& order, bool copies);
  void merge(const Ptr& r, u64 store, const Done& done);
  void back_to_file(const Ptr& r, u64 store, u64 file_size);
  void settle(const Ptr& r, const Order& order, const Done& done);
  void thaw_store(const Ptr& r, const Order& order, const Done& done);

  World& w_;
  const unsigned number_;
  const Nature nature_;
  bool dead_ = false, stopped_ = false, awake_ = false;
  bool finding_ = false;  // a daemon, and then what it had from the one before
  u64 life_ = 1;          // counts its processes
  std::vector<core::SessionId> sessions_;
  core::SessionId session_ = 0;
  u64 resumes_ = 0;  // of its connections
  u64 next_frame_ = 1;
  std::uint32_t next_handle_ = 1;
  std::map<u64, Waiting> waiting_;
  std::map<u64, Ptr> regions_;    // by the lease of the daemon that it is connected to
  std::vector<Ptr> unclaimed_;    // those of one that is gone
  Time found_ = 0;                // a daemon
  bool said_reclaimed_ = false;
  std::vector<u64> freezes_;
  std::vector<Message> inbox_;                  // while stopped
  std::vector<std::function<void()>> parked_;  // likewise
  std::deque<std::function<void(std::function<void()>)>> lane_;
  bool lane_busy_ = false;
  std::vector<std::function<void()>> hung_;
  std::shared_ptr<Pages> came_with_;  // the message that is being handled
  unsigned asked_ = 0;
};

}  // namespace mrlease::sim
