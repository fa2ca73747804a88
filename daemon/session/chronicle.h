// SPDX-License-Identifier: Apache-2.0
// The chronicle watches the arbiter's events and effects go by and keeps who broke what, who was recalled, and how long
// it took. Nothing is decided by it. On the path of a held operation it only keeps what has gone by, after the guard and
// the clients were told; the work is done later, in batches, or when somebody asks (settle()).
#pragma once

#include <asio.hpp>
#include <functional>
#include <map>
#include <unordered_map>

#include "daemon/core/arbiter.h"
#include "daemon/session/happening.h"

namespace mrlease::session {

// Used from the loop's thread only.
class Chronicle {
 public:
  using Batch = std::vector<Happening>;
  using Watcher = std::function<void(const core::Effects&)>;

  Chronicle(asio::io_context& loop, std::function<std::string(const core::FileKey&)> path_of);

  // Where batches go, kBatchDelay after their first happening at the latest. Nobody: nothing is kept for it.
  void tell(std::function<void(Batch)> sink) { sink_ = std::move(sink); }
  void flush();
  // Sees effects after they were carried out, and before they are noted here. Must not step the arbiter.
  void watch(Watcher watcher) { watcher_ = std::move(watcher); }

  // --- what the arbiter's words do not say ---
  void foreign(core::BreakId id, int tid, const std::string& what);  // before its RequestBreak
  void late(core::BreakId id, const std::string& what);
  void admin(core::BreakId id, std::string what);
  void session_began(core::SessionId id, Who who);
  void session_ended(core::SessionId id, const std::string& why, std::size_t leases);
  void wrote(core::LeaseId id, std::uint64_t pages, std::uint64_t conflicts);
  void unsettled(core::BreakId id, std::uint64_t pages);
  void note(decltype(Happening::what) what);

  void saw(const core::Event& event, core::Effects effects);
  // What is so now is true after this.
  void settle();

  // --- what is so now ---
  const std::map<core::LeaseId, LeaseNote>& leases() const { return leases_; }
  const std::map<core::BreakId, BreakNote>& breaks() const { return breaks_; }
  std::vector<RecallNote> outstanding(core::LeaseId lease) const;
  bool recalled(core::LeaseId lease) const { return recalls_of_.count(lease) != 0; }
  std::size_t sessions() const { return sessions_.size(); }
  bool fencing(core::LeaseId lease) const { return fences_.count(lease) != 0; }

 private:
  struct Fence { const char* cause = nullptr; bool kill = false; Mono began; };
  using Recalls = std::unordered_map<core::RecallId, RecallNote>;
  struct Announced { Source source = Source::Client; int tid = 0; std::string what; Mono began; WhoPtr by; };
  struct Seen {
    Mono at;
    core::Event event;
    core::Effects effects;
    core::LeaseId wrote = 0;  // else: an event
    std::uint64_t pages = 0, conflicts = 0;
  };

  LeaseNote& lease_begins(const core::Lease& l);
  void take(const Seen& seen);
  void look_at_owners(const core::Effects& effects);
  void arm();
  void begins(const core::event::RequestLease& e);
  void begins(const core::event::AdoptLease& e);
  void begins(const core::event::AdoptBreak& e);
  void begins(const core::event::AdoptPassing& e);
  void begins(const core::event::RequestBreak& e);
  void answered(const core::event::RecallAnswered& e);
  void on(const core::effect::Granted& e);
  void on(const core::effect::Refused& e);
  void on(const core::effect::Released& e);
  void on(const core::effect::Forget& e);
  void on(const core::effect::Recall& e);
  void on(const core::effect::StartFence& e);
  void on(const core::effect::BreakAnswered& e);
  void on(const core::effect::BreakDone& e);
  void on(const core::effect::Thawed& e);
  void on(const core::effect::SyncDue&) {}
  void on(const core::effect::Report& e);
  template <typename E>
  void on(const E&) {}  // the others are told by something else
  void fence_over(core::LeaseId id, bool killed);
  void lease_over(core::LeaseId id, const char* reason);
  void recall_over(Recalls::iterator it, std::optional<int> code, bool fenced);
  void drop_waiting(core::SessionId session);
  FileRef file_ref(const core::FileKey& key, bool look_again);
  WhoPtr client(core::SessionId id) const;

  asio::io_context& loop_;
  std::function<std::string(const core::FileKey&)> path_of_;
  std::function<void(Batch)> sink_;
  Watcher watcher_;
  asio::steady_timer timer_;
  bool armed_ = false;
  std::vector<Seen> backlog_;
  std::optional<Mono> at_;  // of what is being taken from it
  Batch batch_;
  std::map<core::LeaseId, LeaseNote> leases_;
  std::map<core::BreakId, BreakNote> breaks_;
  Recalls recalls_;
  std::unordered_map<core::LeaseId, std::vector<core::RecallId>> recalls_of_;
  std::unordered_map<core::LeaseId, Fence> fences_;
  std::unordered_map<core::RequestId, core::LeaseId> asked_;  // leases that are not granted yet
  std::unordered_map<core::BreakId, Announced> announced_;
  std::map<core::FileKey, std::pair<FileRef, std::size_t>> files_;  // and how many leases
  std::unordered_map<core::SessionId, WhoPtr> sessions_;
  core::LeaseId refused_ = 0;  // by the event that saw() is at
};

}  // namespace mrlease::session
