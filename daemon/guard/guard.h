// SPDX-License-Identifier: Apache-2.0
// Guards hold foreign operations on leased files until the arbiter allows them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/core/arbiter.h"
#include "daemon/sys/fd.h"

namespace mrlease::guard {

enum class Kind { None, Precontent, Lease, Seal, Observe };

// The ids of guards have their top bit set; the caller numbers its own breaks below.
inline constexpr bool is_guards(core::BreakId id) { return (id >> 63) != 0; }

// A foreign operation that is being held. Ids are unique in the process's life.
struct ForeignOp {
  core::BreakId id = 0;
  core::FileKey file;
  core::BreakKind kind = core::BreakKind::Destructive;
  core::Extent extent;         // what it touches; Truncate: [new_size, end)
  std::uint64_t new_size = 0;  // Truncate, or where it shortens: as asked for; 0 when it cannot be told
  int tid = 0;                 // 0: not known (lease guard)
  bool file_known = true;      // false: it may be of any of several files, each of which is told of it; it goes on when all have answered
  std::string what;            // for people: "ftruncate by 1234 (cp)"
  bool maps = false;           // Read: mmap(2), which itself moves no byte
  bool shortens = false;       // Destructive: the file may end at new_size afterwards
  std::uint64_t shorter_by = 0;  // by that much, where it can be told
};

// Called from the guard's own thread, never with a lock of the guard held; must not block.
struct Listener {
  std::function<void(ForeignOp)> held;             // answer() is owed
  std::function<void(core::BreakId, bool)> left;   // an operation that pass() was told of is over; bool: known for sure
  std::function<void(core::FileKey, std::string)> observed;  // the file changed and nothing was held
  std::function<void(std::string)> failed;         // the guard cannot go on; the daemon must exit
  // held() is likely to follow within microseconds: whoever has to be woken for it may be woken now. Called under the
  // guard's lock: it may ring a bell and no more. May be empty.
  std::function<void()> coming = {};
};

struct Coverage {
  Kind kind = Kind::None;
  std::string text;  // one line for people
};

struct Options {
  std::vector<std::string> roots;  // directories whose file systems are armed from the start
  std::chrono::milliseconds dead_man{10000};  // main loop silent for so long: allow what is held, fail()
  bool successor_comes = false;               // then it is not allowed: the service manager keeps it
};

// A predecessor's groups and journal, where there are any; and the memory for ours.
struct Heritage {
  void* journal = nullptr;  // Journal::bytes()
  bool follows = false;     // there was a predecessor: what it has read must be found
  sys::Fd arming, events, notices, perm;
};

// An operation that a predecessor had allowed, and that does not end.
struct Overdue {
  core::BreakId id = 0;
  core::FileKey file;
};

// One guard thread; all methods are thread-safe and none blocks on a client or on a marked file.
class Guard {
 public:
  // Probes the kernel by doing. Throws std::system_error with a sentence that says what to do.
  // With a heritage that follows, nothing is read until begin().
  static std::unique_ptr<Guard> create(Options options, Listener listener, Heritage heritage = {});
  virtual ~Guard() = default;

  // The groups, for a successor: names and descriptors.
  virtual std::vector<std::pair<std::string, int>> groups() const = 0;
  // Waits until what a predecessor had allowed is over, no longer than `bound`. What is not: listener.left follows for each.
  virtual std::vector<Overdue> await_passing(std::chrono::milliseconds bound) = 0;
  // The files are watched again and their needs published: what the predecessor held is taken over, then events are read.
  // For people: what was found.
  virtual std::string begin() = 0;

  virtual std::string describe() const = 0;
  // Start and stop watching a file; fd: a description of it that stays open until unwatch() (the lease guard leases it).
  virtual Coverage watch(const core::FileKey& file, int fd) = 0;
  virtual void unwatch(const core::FileKey& file) = 0;
  // What the guard thread must bring to the arbiter; the rest it answers itself, at once.
  virtual void publish(const core::FileKey& file, const core::Needs& needs) = 0;
  // Allow (errno 0) or deny a held operation. When `watch_leaving`, listener.left follows.
  virtual void answer(core::BreakId id, int deny_errno, bool watch_leaving) = 0;
  // The main loop lives (dead-man timer). False: the guard's thread has not answered for longer than the dead man's time.
  virtual bool heartbeat() = 0;
  // Let everything go, forget all marks; for shutdown and the emergency.
  virtual void disarm() = 0;
};

}  // namespace mrlease::guard
