// SPDX-License-Identifier: Apache-2.0
// What has happened, as an administrator wants to hear of it. Values: they go to other threads.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "daemon/core/events.h"

namespace mrlease::session {

using Wall = std::chrono::system_clock::time_point;
using Mono = std::chrono::steady_clock::time_point;
using Span = std::chrono::steady_clock::duration;

// A process; pid 0: not known. tid: of a foreign operation.
struct Who {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t tid = 0;
  std::string program;
};
using WhoPtr = std::shared_ptr<const Who>;  // never empty

struct FileRef {
  core::FileKey key;
  std::shared_ptr<const std::string> path;  // never empty; "" when it is not known
};

struct LeaseNote {
  core::LeaseId id = 0;
  core::SessionId session = 0;
  FileRef file;
  core::Extent extent;
  core::Backing backing = core::Backing::Bounce;
  bool write = false;
  WhoPtr client;
  Wall since;
  bool granted = false;
  std::uint64_t breaks = 0;         // that it was recalled for
  std::uint64_t pages_written = 0;  // from its bounce pages
};

struct RecallNote {
  core::LeaseId lease = 0;
  WhoPtr client;
  core::Backing backing = core::Backing::Bounce;
  core::Action action = core::Action::None;
  core::BreakKind reason = core::BreakKind::Revoke;
  core::Extent extent;
  core::BreakId break_id = 0;
  Mono sent;
  std::optional<Span> took;  // none: not answered (yet)
  int code = 0;              // errno of the client's answer
  bool fenced = false;
};

enum class Source : std::uint8_t { Foreign, Late, Client, Admin };
enum class BreakPhase : std::uint8_t { Waiting, Holding, Passing };

struct BreakNote {
  core::BreakId id = 0;
  FileRef file;
  core::BreakKind kind = core::BreakKind::Sync;
  Source source = Source::Foreign;
  BreakPhase phase = BreakPhase::Waiting;
  core::Extent extent;
  std::uint64_t new_size = 0;
  core::Time hold = 0;  // Freeze: as asked for; 0: the longest
  core::SessionId owner = 0;
  WhoPtr by;
  std::string what;
  Wall since;
  Mono began;
  std::optional<Mono> answered;
  int code = 0;          // errno of the answer
  bool expired = false;  // a freeze whose hold passed
  std::uint64_t unsettled = 0;  // Freeze: pages that never stood still
  std::vector<RecallNote> recalled;
};

namespace happening {
struct SessionBegan { core::SessionId session; WhoPtr client; };
struct SessionEnded { core::SessionId session; WhoPtr client; std::string reason; std::size_t leases; };
struct LeaseGranted { LeaseNote lease; };
struct LeaseRefused { FileRef file; WhoPtr client; int code; std::string reason; };
struct LeaseEnded { LeaseNote lease; std::string reason; };
struct LeaseFenced { LeaseNote lease; std::string cause; bool killed; Span took; };
struct Recalled { FileRef file; RecallNote recall; };
struct RecallAnswered { FileRef file; RecallNote recall; };  // also when its time has passed: took is then not set
struct BreakBegun { BreakNote note; };
struct FreezeHolds { BreakNote note; };
struct BreakDone { BreakNote note; Span took; };
struct PagesWritten { std::uint64_t pages, conflicts; };
struct Report { FileRef file; core::LeaseId lease; core::BreakId break_id; std::string text; };
struct ConfigReloaded { std::vector<std::string> changed, needs_restart; };
}  // namespace happening

struct Happening {
  Wall time;
  std::variant<happening::SessionBegan, happening::SessionEnded, happening::LeaseGranted, happening::LeaseRefused,
               happening::LeaseEnded, happening::LeaseFenced, happening::Recalled, happening::RecallAnswered,
               happening::BreakBegun, happening::FreezeHolds, happening::BreakDone, happening::PagesWritten,
               happening::Report, happening::ConfigReloaded>
      what;
};

}  // namespace mrlease::session
