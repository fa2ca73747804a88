// SPDX-License-Identifier: Apache-2.0
// The broker carries events from clients, guards, workers and the timer to the arbiter, and its effects back to them.
#pragma once

#include <asio.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>

#include "daemon/core/arbiter.h"
#include "daemon/guard/guard.h"
#include "daemon/keep/state.h"
#include "daemon/session/chronicle.h"
#include "daemon/session/descriptors.h"
#include "daemon/session/mailbox.h"
#include "daemon/session/holders.h"
#include "daemon/session/options.h"
#include "daemon/session/pace.h"
#include "daemon/session/session.h"
#include "daemon/session/takeover.h"
#include "daemon/session/worker_pool.h"

namespace mrlease::session {

// What outlives the process; nullptr: nothing does.
struct Kept { keep::Keeper* keeper = nullptr; keep::State* state = nullptr; Holders* holders = nullptr; };

// Lives in the loop's thread; only held(), left() and observed() may be called from others (they post).
class Broker {
 public:
  using Log = std::function<void(int level, std::string line)>;  // level: 0 debug, 1 info, 2 warning, 3 error
  Broker(asio::io_context& loop, Options options, Log log, Kept kept = {});
  ~Broker();

  // The guard calls these; it is attached once, before the first session.
  guard::Listener listener(std::function<void(std::string)> failed);
  void attach(guard::Guard* guard) { guard_ = guard; }
  // Run in the loop, behind all that the guard has said so far. Thread-safe.
  void by_mailbox(Mailbox::Note note) { mailbox_.post(std::move(note)); }
  // From now on (Arbiter::set_policy says what that means for breaks that run). Clients are told of new deadlines with
  // each recall; userfaultfd and limits count for what is asked for afterwards.
  void reconfigure(const Options& options);
  // Before anything else: takes over what a predecessor left. overdue: operations that it allowed and that still
  // run. The guard begins after this.
  void adopt(const std::vector<guard::Overdue>& overdue);
  // After adopt(): holds new leases back until the clients of a predecessor that was not kept have come back.
  void await_reclaims();
  // A new client. Refused (closed) when the user has too many.
  void accept(Connection::Socket socket);
  // For shutdown: what RDMA wrote is brought to the files (bounded by the work deadline), clients are let go, then `done`.
  void stop(std::function<void()> done);

  Chronicle& chronicle() { return chronicle_; }

 private:
  friend class AdminView;  // admin_view.h: what administrators see and ask for
  struct FileEntry {
    int leases = 0;
    core::LeaseId fd_owner = 0;  // whose descriptor the guard has
    fence::SharedFd fd;
    guard::Coverage coverage;
    core::Needs published;
  };
  // An API request that ends with a break.
  struct ApiBreak {
    core::SessionId session = 0;
    core::RequestId request = 0;
    core::BreakKind kind = core::BreakKind::Sync;
    core::FileKey file;
    fence::SharedFd fd;
    std::uint64_t unsettled = 0;
    core::Extent extent;
    core::Time hold = 0;
    keep::Slot slot = keep::kNoSlot;
    bool admin = false;  // asked for by an administrator: the session is nobody's
    bool ends_with_daemon = false;  // a freeze of a call whose end thaws it
    uid_t user = 0;  // who asked; an administrator is root
    Charge charge{};
    Verdict failed;  // a sync: what the file work came to, in words
  };
  // A frame that the arbiter will answer; lease: of a Register.
  struct PendingRequest { core::SessionId session = 0; core::RequestId request = 0; core::LeaseId lease = 0; };
  struct OutRecall { core::LeaseId lease = 0; core::Action action = core::Action::None; std::uint64_t store = 0; Charge charge; };

  // --- requests.cc: frames of clients ---
  // fds: what is taken of them; the rest is the caller's to close.
  void on_frame(core::SessionId id, wire::Frame frame, std::vector<wire::Fd>& fds);
  void on_hello(Session& s, const wire::Frame& f);
  void on_add_device(Session& s, const wire::Frame& f, wire::Fd& fd);
  void on_add_userfaultfd(Session& s, const wire::Frame& f, wire::Fd& fd);
  void on_add_mr(Session& s, const wire::Frame& f);
  void on_remove_mr(Session& s, const wire::Frame& f);
  void on_register(Session& s, const wire::Frame& f, wire::Fd& fd, wire::Fd& memory);
  void on_name_mapped(Session& s, const wire::Frame& f);
  void on_release(Session& s, const wire::Frame& f);
  void on_extend(Session& s, const wire::Frame& f);
  void on_merge(Session& s, const wire::Frame& f, wire::Fd& orphans);
  void on_recall_done(Session& s, const wire::Frame& f);
  void on_file_break(Session& s, const wire::Frame& f, wire::Fd& fd, core::BreakKind kind);
  void on_thaw(Session& s, const wire::Frame& f);
  void on_resumed(Session& s, const wire::Frame& f);

  // --- reclaim.cc ---
  struct Deferred { core::SessionId session = 0; std::uint32_t user = 0; wire::Frame frame; wire::Fd fd, memory; };  // asked in the grace period
  void end_grace();
  bool no_longer_awaited(pid_t pid);  // one session of it; false: none was
  bool defer(const Session& s, const wire::Frame& f, wire::Fd& fd, wire::Fd& memory);  // true: seen to; they may be taken
  bool still_ending(const Session& s) const;  // another session of its process
  void on_reclaimed(Session& s, const wire::Frame& f);
  void note_holders();

  // --- effects.cc: what the arbiter wants ---
  void step(core::Event event);
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
  void apply(const core::effect::Forget& e);
  void apply(const core::effect::SyncDue& e);
  void apply(const core::effect::Report& e);
  void handle(const core::Event& event);
  void collect_touched(const core::Event& event, const core::Effects& effects);
  void publish(const core::FileKey& file);
  void arm_timer();
  core::Time now() const;
  bool has_lease(int task, const core::FileKey& file);  // the task's process, as a client

  // --- what the administrator decides ---
  std::chrono::microseconds patience(uid_t user) const;
  static std::uint64_t microseconds();  // of the steady clock
  static Ruling ruling(const std::vector<Rule>& rules, int file, uid_t user, bool write, core::Backing backing);

  // --- works.cc: workers and fences ---
  void grant_bounce(LeaseHold& lease);
  bool nothing_to_flush(const LeaseHold& lease, const core::Extent& touched);
  void send_granted(const LeaseHold& lease);
  static std::string why_denied(const ApiBreak& b, int code);
  void send_frozen(Session& s, core::BreakId id, const ApiBreak& freeze);
  void send_recall(const core::effect::Recall& e, LeaseHold& lease, const Store* store);
  void make_store(const core::effect::Recall& e, const std::shared_ptr<LeaseHold>& lease);
  void prepare_store();
  void work_done(const core::effect::StartWork& e, const store::Bounce::Result& result);
  void sync_failed(const core::FileKey& file, core::LeaseId told, std::function<void()> done);
  void tell_trimmed(LeaseHold& lease, std::uint64_t size);
  std::uint64_t size_left(const LeaseHold& lease);
  using Leases = std::vector<std::shared_ptr<LeaseHold>>;
  // Leases of one session. Whoever asks while a fence runs waits for that one. done(false): the client was killed.
  void fence_lease(const std::shared_ptr<LeaseHold>& lease, bool kill, std::function<void(bool)> done);
  void fence_session(core::SessionId session, Leases leases, bool kill, std::function<void(fence::Outcome)> done);
  // The kernel ends a context with the last close: ours go first, in a worker.
  void drop_descriptors(core::SessionId session, std::function<void()> then);
  // Whoever asks while a rescue runs waits for that one.
  void rescue_stores(const std::shared_ptr<LeaseHold>& lease, std::function<void(int code)> done);
  // Of leases that end between a Trim and its Settle. One that is frozen is the arbiter's to bring to the file, at the thaw.
  void rescue_trimmed(const Leases& leases, std::function<void()> done);
  static void do_work(const core::effect::StartWork& e, store::Bounce* bounce, const LeaseHold* lease, int fd,
                      std::uint64_t file_end, const Options& options, store::Bounce::Result* result);
  // work runs in a worker, then in the loop.
  void in_worker(std::function<void()> work, std::function<void()> then);
  void in_worker(WorkerPool& pool, std::function<void()> work, std::function<void()> then);
  void write_back(const core::FileKey& file);  // effect::SyncDue
  void written_back(const core::FileKey& file);

  // --- keep.cc: what a successor has to know. All of it does nothing when nothing is kept ---
  bool keeps() const { return kept_.state != nullptr; }
  void note_numbers();
  void keep_session(core::SessionId id, std::uint64_t request, std::function<void()> then);  // or says why not
  void forget_session(Session& s);
  // then: it may be granted. Else it is refused and released here.
  void keep_lease(const std::shared_ptr<LeaseHold>& lease, std::function<void()> then);
  void forget_lease(LeaseHold& lease);
  bool keep_mr(const LeaseHold& lease, LeaseMr& mr);  // false: full
  void forget_mrs(LeaseHold& lease);
  void hand_back(LeaseHold& lease, bool under_way);
  bool keep_store(const LeaseHold& lease, Store& store, core::RecallId made_by);  // false: full
  void forget_stores(std::vector<Store> stores);
  void keep_freeze(core::BreakId id, ApiBreak& b);
  // Every freeze that is asked for now could still be written down when it holds.
  bool can_keep_freeze() const { return !keeps() || api_breaks_.size() < keep::FreezeRecord::kMax; }
  bool kept_frozen(const LeaseHold& lease, const core::Extent& part) const;  // by one that a successor takes over
  bool frozen_now(const LeaseHold& lease) const;   // part of it, by any freeze
  void tell_size(LeaseHold& lease, std::uint64_t size);
  keep::LeaseRecord* record(const LeaseHold& lease);
  std::shared_ptr<KeptFile> kept_file(const LeaseHold& lease, bool* fresh);
  void drop_names(std::vector<std::string> names);

  // --- adopt.cc ---
  void adopt_session(keep::Slot slot, const keep::SessionRecord& r);
  void adopt_lease(keep::Slot slot, const keep::LeaseRecord& r);
  void adopt_into_arbiter();
  void end_sessions_of_before();
  void adopt_bounce(LeaseHold& lease);
  void adopt_mr(keep::Slot slot, const keep::MrRecord& r);
  void adopt_store(keep::Slot slot, const keep::StoreRecord& r);
  void adopt_freeze(keep::Slot slot, const keep::FreezeRecord& r);
  void adopt_breaks(const std::vector<guard::Overdue>& overdue);
  void adopt_file_breaks(const core::FileKey& file);
  std::vector<LeftLease> left_leases(const core::FileKey& file);
  void changed_unheld(const core::FileKey& file, const std::string& what);
  void took_over(core::BreakId id);
  void lost(keep::Slot slot, const keep::LeaseRecord& r, const std::string& why);

  // --- frozen.cc ---
  void thaw_early(core::BreakId freeze, std::string why);
  void thaw_file(const core::FileKey& file);
  std::string why_over(core::BreakId freeze) const;
  std::map<core::BreakId, std::uint64_t> frozen_memory() const;  // bytes that each freeze takes; without those that end early
  void watch_frozen_memory();  // as long as there is a freeze

  // --- broker.cc: sessions and the rest ---
  void session_closed(core::SessionId id, const std::string& why);
  void session_ended(core::SessionId id);
  void watch_exit(Session& s);
  void reply(Session& s, core::RequestId request, wire::Frame frame, std::vector<fence::SharedFd> fds = {});
  void reply_status(core::SessionId session, core::RequestId request, int code, std::string message);
  void notice(LeaseHold& lease, wire::v1::Notice::Kind kind, std::uint64_t size, std::string message);
  Session* find_session(core::SessionId id);
  std::shared_ptr<LeaseHold> find_lease(core::LeaseId id);
  std::shared_ptr<LeaseHold> own_lease(Session& s, core::LeaseId id, core::RequestId request);
  std::uint64_t file_size(const core::FileKey& file);
  std::string path_of(const core::FileKey& file) const;  // as the kernel names it now; empty: no descriptor of it
  void drop_lease(core::LeaseId id);
  Verdict check_room_of(uid_t user, const Usage& more) const { return check_quota(accounts_.of(user), more, options_); }
  void charge(Session& s);     // anew, for what it has now
  void charge(LeaseHold& lease);
  static Usage usage_of(core::Backing backing, std::uint64_t length);
  core::RequestId new_request(core::SessionId session, core::RequestId frame_id, core::LeaseId lease = 0);

  asio::io_context& loop_;
  Options options_;
  Log log_;
  guard::Guard* guard_ = nullptr;
  core::Arbiter arbiter_;
  WorkerPool workers_;
  // Of a user: his processes can make who looks at them wait for as long as he likes, and then only he does.
  struct Namer {
    WorkerPool pool{8};
    int under_way = 0;
  };
  std::map<uid_t, Namer> namers_;
  WorkerPool writers_back_{16};  // what nobody waits for: who is held never waits behind it
  asio::steady_timer timer_;
  asio::steady_timer stop_timer_;
  asio::steady_timer grace_timer_;
  asio::steady_timer frozen_timer_;
  bool watching_frozen_ = false;
  std::map<core::BreakId, std::string> thawed_early_;  // why: of the last ones
  std::multiset<pid_t> awaited_;   // not empty: the grace period runs. Once for each session
  std::vector<Deferred> deferred_;
  std::vector<std::function<void()>> after_grace_;  // what the administrator asked for meanwhile
  std::multiset<pid_t> reclaimers_;  // who may take leases in the grace period: those that had some
  Mailbox mailbox_;  // from the guard
  Kept kept_;
  fence::SharedFd spare_store_;  // not sized yet
  Chronicle chronicle_;          // who broke what: for people, never for decisions
  std::function<std::string(const core::FileKey& key, int fd)> banned_;  // why no lease of this file is granted now; empty: it may be
  std::uint64_t spare_store_id_ = 0;
  bool spare_coming_ = false;  // a worker makes it
  std::multimap<core::FileKey, std::weak_ptr<KeptFile>> kept_files_;
  std::map<std::uint64_t, std::shared_ptr<KeptFile>> adopted_files_;  // while adopting
  std::unordered_map<core::SessionId, std::unique_ptr<Session>> sessions_;
  Accounts accounts_;
  std::map<uid_t, Pace> paces_;
  struct WritingBack { unsigned works = 0; bool again = false; };
  std::map<core::FileKey, WritingBack> writing_back_;  // files with such works under way
  std::unordered_map<core::LeaseId, std::shared_ptr<LeaseHold>> leases_;
  std::set<core::LeaseId> outliving_;  // of sessions that have ended: they wait for a thaw or a flush
  std::map<core::FileKey, FileEntry> files_;
  std::unordered_map<core::BreakId, ApiBreak> api_breaks_;
  std::unordered_map<core::BreakId, core::FileKey> guard_breaks_;
  Inherited inherited_;
  struct TakingOver { core::BreakId id; bool again; };
  std::map<core::FileKey, TakingOver> taking_over_;  // changes that nobody held, into bounce pages
  std::unordered_map<core::RequestId, PendingRequest> requests_;  // every request that the arbiter will answer
  std::unordered_map<core::RecallId, OutRecall> recalls_;
  std::deque<core::Event> events_;    // events that effects have caused, while stepping_
  bool stepping_ = false;
  int glances_ = 0;  // at bounce pages, in this turn of the loop
  std::set<core::BreakId> passing_;   // in the effects of the step being applied
  std::set<core::FileKey> touched_;
  core::SessionId next_session_ = 1;
  core::LeaseId next_lease_ = 1;
  std::uint64_t bounce_filling_ = 0;  // bytes of bounce pages that workers are filling
  core::RequestId next_request_ = 1;
  std::uint64_t next_store_ = 1;
  std::uint64_t next_file_ = 1;
  std::uint64_t next_api_break_ = 1;
  bool stopping_ = false;
};

}  // namespace mrlease::session
