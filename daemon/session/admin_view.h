// SPDX-License-Identifier: Apache-2.0
// What an administrator sees of the broker, and what he may ask it for.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "daemon/session/broker.h"

namespace mrlease::session {

enum class LeaseState { Pending, Active, Recalling, Frozen, Trimmed, Fencing, Fenced };

struct MrView {
  std::string device;
  std::uint32_t handle = 0, lkey = 0, rkey = 0;
  std::uint64_t length = 0;
};

struct LeaseView {
  LeaseNote note;
  LeaseState state = LeaseState::Pending;
  std::uint64_t on_file_end = 0;
  std::vector<MrView> mrs;
  std::vector<core::Action> recalls;  // outstanding
  guard::Coverage coverage;
  std::uint16_t rule = 0;             // Lease.terms
  core::Terms terms;                  // what they are
};

// A lease that a new configuration would treat otherwise.
struct TermsView {
  std::uint16_t rule = 0;  // from 1; 0: of none
  core::Terms terms;
  ClientLimits limits;     // of one that is granted anew: what is there keeps to those of when it was
};
struct TermsChange {
  LeaseNote note;
  TermsView now, then;
  std::string refused;  // why it would not be granted anew; empty: it would be
};

struct FileView {
  FileRef file;
  std::uint64_t size = 0;
  guard::Coverage coverage;
  int mount = -1;  // proc_pid_fdinfo(5), mnt_id
  std::vector<LeaseView> leases;
  std::vector<BreakNote> breaks;
};

struct Totals {
  std::size_t sessions = 0, files = 0, leases = 0, breaks = 0, freezes = 0;
  std::uint64_t bounce_bytes = 0;
};

struct AdminAnswer {
  int code = 0;  // errno
  std::uint64_t unsettled = 0;
  unsigned fenced = 0;
};

// A break that an administrator asks for. Each has an owner of its own, so that one who goes away leaves nothing behind.
struct AdminAsk {
  core::BreakKind kind = core::BreakKind::Sync;
  core::FileKey file;
  fence::SharedFd fd;  // Sync: for the fsync of a file without leases
  core::Extent extent;
  core::Time hold = 0;
  core::LeaseId only = 0;
  std::string what;    // for people
  std::function<void(const AdminAnswer&)> answered;
  // Freeze: after it held; why: it ended by itself, empty: it was thawed. One without it outlives the daemon, as long as its hold.
  std::function<void(std::string why)> over;
};

// Used from the loop's thread only. One per broker, which it must not outlive.
class AdminView {
 public:
  explicit AdminView(Broker& broker);

  // Leases with ids above `after`, by rising id, until visit returns false.
  void visit_leases(core::LeaseId after, const std::function<bool(const LeaseNote&)>& visit) const;
  std::optional<LeaseView> lease(core::LeaseId id) const;
  LeaseState state(const LeaseNote& lease) const;
  // By rising id; nothing changes. With these options as the broker's.
  std::vector<TermsChange> would_change(const Options& options) const;
  // Files that have a lease or a break, by rising key.
  std::vector<core::FileKey> files(std::optional<core::FileKey> after, std::size_t limit) const;
  std::optional<FileView> file(const core::FileKey& key) const;
  std::vector<core::LeaseId> leases_of(const core::FileKey& key) const;
  unsigned overlapping(const core::FileKey& key, const core::Extent& extent) const;
  // A descriptor of a known file; empty: not known.
  fence::SharedFd descriptor(const core::FileKey& key) const;
  // What the daemon has open for a file's leases: expired when all of it is closed.
  std::vector<std::weak_ptr<const void>> held_for(const core::FileKey& key) const;
  Totals totals() const;
  std::string guard_text() const;

  // Breaks. ask.answered comes later, never from within; afterwards the break goes on by itself.
  core::BreakId ask(AdminAsk ask);
  // Nobody waits any more: a freeze is thawed, the callbacks are forgotten.
  void abandon(core::BreakId id);
  bool can_freeze() const { return broker_.can_keep_freeze(); }  // false: as many as can be kept are under way
  std::string why_over(core::BreakId freeze) const { return broker_.why_over(freeze); }  // of one that ended by itself
  bool holds(core::BreakId freeze) const;  // anybody's freeze, begun or holding
  void thaw(core::BreakId freeze, std::function<void(std::string why)> done);  // why: it was over before; empty: it was not

  // While `banned` gives a reason for a descriptor's file, no lease of it is granted.
  void ban(std::function<std::string(const core::FileKey& key, int fd)> banned);

  const Options& options() const { return broker_.options_; }
  // Settled: it knows of all that has happened.
  Chronicle& chronicle() const {
    broker_.chronicle_.settle();
    return broker_.chronicle_;
  }

 private:
  struct Asked {
    core::SessionId owner = 0;
    AdminAsk ask;
  };
  void saw(const core::Effects& effects);

  Broker& broker_;
  std::map<core::BreakId, Asked> asked_;
  std::map<core::RequestId, std::function<void(std::string)>> thaws_;
};

}  // namespace mrlease::session
