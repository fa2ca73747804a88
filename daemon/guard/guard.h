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
  std::uint64_t new_size = 0;  // Truncate: as asked for; 0 when it cannot be told
  int tid = 0;                 // 0: not known (lease guard)
  std::string what;            // for people: "ftruncate by 1234 (cp)"
};

// Called from the guard's own thread, never with a lock of the guard held; must not block.
struct Listener {
  std::function<void(ForeignOp)> held;             // answer() is owed
  std::function<void(core::BreakId, bool)> left;   // an operation that pass() was told of is over; bool: known for sure
  std::function<void(core::FileKey, std::string)> observed;  // the file changed and nothing was held
  std::function<void(std::string)> failed;         // the guard cannot go on; the daemon must exit
};

struct Coverage {
  Kind kind = Kind::None;
  std::string text;  // one line for people
};

struct Options {
  std::vector<std::string> roots;  // directories whose file systems are armed from the start
  std::chrono::milliseconds dead_man{10000};  // main loop silent for so long: allow what is held, fail()
};

// One guard thread; all methods are thread-safe and none blocks on a client or on a marked file.
class Guard {
 public:
  // Probes the kernel by doing. Throws std::system_error with a sentence that says what to do.
  static std::unique_ptr<Guard> create(Options options, Listener listener);
  virtual ~Guard() = default;

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
