// SPDX-License-Identifier: Apache-2.0
// The daemon. Its arbiter, its words for the wire, what it believes of a client and what it tells a successor are the real
// ones; what the broker does with descriptors, workers and threads is done here to virtual files, in virtual time.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "daemon/core/arbiter.h"
#include "daemon/guard/guard.h"
#include "daemon/session/account.h"
#include "daemon/session/takeover.h"
#include "tests/sim/client.h"
#include "tests/sim/message.h"

namespace mrlease::sim {

class Daemon {
 public:
  explicit Daemon(World& world);

  // --- clients ---
  core::SessionId accept(Client& client);  // 0: not now
  void from_client(core::SessionId id, Message message);
  void will_add(u64 lease, std::shared_ptr<Mr> mr) { coming_[{lease, mr->handle}] = std::move(mr); }
  void client_ended(const std::vector<core::SessionId>& sessions, const std::vector<std::shared_ptr<Region>>& regions);
  void hang_up(core::SessionId id);  // the client lives

  // --- the guard ---
  const core::Needs& published(const core::FileKey& file) { return published_[file]; }
  void held(const guard::ForeignOp& op);
  void left(core::BreakId id);

  // --- the administrator ---
  void admin(core::BreakKind kind, const File& file, core::Extent extent, Time hold, core::LeaseId only);
  void admin_thaw(u64 luck);
  void reload(const core::Policy& policy);

  void restart(u64 luck);
  void vanish(u64 luck);  // nothing is kept; another one comes
  bool up() const { return up_; }
  bool listens() const { return !vanished_; }  // its manager does, while it is replaced
  bool quiet() const;  // nothing is under way
  const core::Policy& policy() const { return policy_; }
  std::size_t leases() const { return holds_.size(); }
  const core::Arbiter& arbiter() const { return *arbiter_; }
  std::vector<core::LeaseId> lease_ids() const;
  bool knows(core::SessionId id) const { return sessions_.count(id) != 0; }
  bool lives(core::SessionId id) const;  // the process that has it
  bool knows_mrs(core::LeaseId id) const { return holds_.count(id) != 0 && !holds_.at(id)->mrs.empty(); }
  // Also what a planted bug makes of it.
  void step(core::Event event);

 private:
  void end_process();
  struct Store {
    u64 id = 0;
    core::Extent extent;
    std::shared_ptr<Pages> memory;
    bool trim = false, live = true, complied = false, ending = false;
    core::RecallId made_by = 0, ended_by = 0;
  };
  struct Hold {
    core::LeaseId id = 0;
    core::SessionId session = 0;
    std::uint32_t user = 0;
    session::Charge charge;  // of the user
    u64 request = 0;
    File* file = nullptr;
    core::Extent extent;
    core::Backing backing = core::Backing::Bounce;
    bool write = false, share = false;
    u64 size_told = 0;
    bool fence_ordered = false;  // kept
    bool kept = false, quiesced = false, fencing = false, destroyed = false, merging = false, rescuing = false;
    bool handed_back = false;  // the client was told that it may deregister, and has not said since that it has
    bool reclaimed = false, mrs_told = false;
    u64 end_reclaimed = 0;
    std::vector<std::shared_ptr<Mr>> mrs;
    std::vector<Store> stores;
    std::shared_ptr<Pages> bounce;
    std::vector<std::function<void()>> after_fence, after_rescue;
  };
  using HoldPtr = std::shared_ptr<Hold>;
  struct Session {
    core::SessionId id = 0;
    Client* client = nullptr;
    std::uint32_t user = 0;
    u64 process = 0;                   // which of its client's
    bool ended = false, gone = false;  // as the client, as the daemon knows it
    bool hung_up = false;              // the process may live
    bool devices = true;               // its uverbs descriptor is here
    bool resuming = false;
    std::set<u64> seen;
    std::set<core::BreakId> freezes;
    Time last_up = 0, last_down = 0;
    std::deque<Message> backlog;  // while there is no daemon
    std::vector<std::shared_ptr<Region>> left;  // of a client that has ended: kept alive by the daemon's duplicates alone
    u64 frames = 0;
  };
  struct ApiBreak {
    core::SessionId session = 0;
    u64 request = 0;
    core::BreakKind kind = core::BreakKind::Sync;
    core::FileKey file;
    core::Extent extent;
    Time hold = 0, until = 0;
    bool kept = false, admin = false;
  };
  struct Deferred { core::SessionId session = 0; wire::Frame frame; Message message; };
  struct Request { core::SessionId session = 0; u64 frame = 0; core::LeaseId lease = 0; };
  struct OutRecall { core::LeaseId lease = 0; core::Action action = core::Action::None; u64 store = 0; };

  // daemon.cc: frames
  int charge(Hold* hold);  // 0 or EDQUOT
  void on_frame(core::SessionId id, const wire::Frame& f, const Message& m);
  void on_register(Session& s, const wire::Frame& f, const Message& m);
  void on_mr(Session& s, const wire::Frame& f);
  void on_release(Session& s, const wire::Frame& f);
  void on_merge(Session& s, const wire::Frame& f);
  void on_recall_done(Session& s, const wire::Frame& f);
  void on_file_break(Session& s, const wire::Frame& f, const Message& m);
  void on_thaw(Session& s, const wire::Frame& f);
  void on_resumed(Session& s, const wire::Frame& f);
  HoldPtr own(Session& s, core::LeaseId id, u64 request);
  HoldPtr find(core::LeaseId id) const;
  Session* session(core::SessionId id);
  void reply(core::SessionId id, u64 request, wire::Frame frame, std::shared_ptr<Pages> memory = {});
  void status(core::SessionId id, u64 request, int code);
  core::RequestId new_request(core::SessionId session, u64 frame, core::LeaseId lease = 0);
  void later(Time delay, std::function<void()> what);  // unless the daemon ends before
  void session_closed(core::SessionId id);
  void session_ended(core::SessionId id);
  void drop(core::LeaseId id);

  // daemon_effects.cc
  void apply(const core::effect::Granted& e);
  void apply(const core::effect::Refused& e);
  void apply(const core::effect::Released& e);
  void apply(const core::effect::Extended& e);
  void apply(const core::effect::Recall& e);
  void apply(const core::effect::StartWork& e);
  void apply(const core::effect::StartFence& e);
  void apply(const core::effect::BreakAnswered& e);
  void apply(const core::effect::WatchPassing& e);
  void apply(const core::effect::BreakDone& e);
  void apply(const core::effect::Thawed& e);
  void apply(const core::effect::Fenced& e);
  void apply(const core::effect::Forget& e) { drop(e.lease); }
  void apply(const core::effect::SyncDue& e);
  void apply(const core::effect::Report&) {}
  void publish();
  void arm();

  // daemon_works.cc
  void work(const core::effect::StartWork& e, Hold* hold, u64 file_end);
  void flush(Hold& hold);
  void fence(const HoldPtr& hold, bool kill, std::function<void(bool)> done);
  void fence_session(core::SessionId id, std::vector<HoldPtr> holds, bool kill, std::function<void(bool destroyed)> done);
  void destroy(std::vector<HoldPtr> holds);
  static void close_duplicates(Session& s);
  u64 size_left(const Hold& hold) const;
  void rescue(const HoldPtr& hold, std::function<void()> done);
  void rescue_trimmed(const std::vector<HoldPtr>& holds, std::function<void()> done);
  File& file(const core::FileKey& key);
  u64 luck();
  Time on_the_wire(const Client& client) const;

  // daemon_reclaim.cc
  void hear_of_hang_up(Session& s);
  bool has_unknown_mrs(const Hold& hold) const;
  bool defer(const Session& s, const wire::Frame& f, const Message& m);
  bool still_ending(const Session& s) const;
  void on_reclaimed(Session& s, const wire::Frame& f);
  void end_grace();

  // daemon_restart.cc
  void wait_for_passing(Time until);
  void take_over();
  void second_halves(const core::FileKey& file);
  std::vector<session::LeftLease> left_leases(const core::FileKey& file) const;

  World& w_;
  // What outlives it.
  std::map<core::SessionId, Session> sessions_;
  std::map<core::LeaseId, HoldPtr> holds_;
  session::Accounts accounts_;
  std::map<core::BreakId, ApiBreak> api_;
  std::map<core::LeaseId, std::vector<Store>> rescued_;  // being written to the file: the successor has to do it again
  core::SessionId next_session_ = 1;
  core::LeaseId next_lease_ = 1;
  core::BreakId next_break_ = 1;
  u64 next_store_ = 1, starts_ = 0;
  core::Policy policy_;
  // What does not.
  bool up_ = true;
  std::unique_ptr<core::Arbiter> arbiter_;
  std::deque<core::Event> events_;
  bool stepping_ = false;
  std::vector<guard::ForeignOp> put_off_;  // by a planted bug
  Time armed_ = core::kNever;
  std::map<core::FileKey, core::Needs> published_;
  std::map<core::BreakId, core::FileKey> guard_breaks_;
  session::Inherited inherited_;
  std::map<core::RequestId, Request> requests_;
  std::map<core::RecallId, OutRecall> recalls_;
  std::set<core::BreakId> passing_;
  core::RequestId next_request_ = 1;
  u64 drawn_ = 0;
  Time drawn_at_ = 0;
  std::map<std::pair<u64, std::uint32_t>, std::shared_ptr<Mr>> coming_;
  std::set<std::pair<unsigned, u64>> awaited_, reclaimers_;  // processes: client and which of its
  Time grace_ = 0;
  bool vanished_ = false;
  std::deque<Deferred> deferred_;
  std::vector<std::function<void()>> after_grace_;
};

}  // namespace mrlease::sim
