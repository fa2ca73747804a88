// SPDX-License-Identifier: Apache-2.0
// What a successor tells its arbiter of what a predecessor had begun, and what a client's word counts for. Pure.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "daemon/core/events.h"

namespace mrlease::session {

// A lease as a predecessor left it. Not one that is fenced: that is out of every break's way.
struct LeftLease {
  struct Store {
    core::Extent extent;
    bool trim = false;    // of a Trim; else of a Freeze
    bool frozen = false;  // by one that goes on
  };
  core::LeaseId id = 0;
  core::Extent extent;
  std::uint64_t on_file_end = 0;
  bool bounce = false, write = false;
  bool quiesced = false;  // direct: its client has been, or is being asked to deregister
  std::vector<Store> stores;
};

// The second halves of what may have been begun on a file of this size. Their ids are the caller's to choose.
std::vector<core::event::AdoptBreak> second_halves(const core::FileKey& file, std::uint64_t size,
                                                   const std::vector<LeftLease>& leases);
// What of the leases of its file a freeze that goes on has out of the file's way.
std::vector<core::event::AdoptBreak::Part> frozen_parts(const core::Extent& frozen, const std::vector<LeftLease>& leases);

// Operations that a predecessor had allowed and that are inside. The leases of their files are revoked; where a freeze keeps that
// from being done, they get back what they can have when the last of those has left.
class Inherited {
 public:
  void inside(core::BreakId id, const core::FileKey& file) { inside_[id] = file; }
  void revokes(core::BreakId id, const core::FileKey& file) { revokes_[id] = file; }
  bool changes(const core::FileKey& file) const;
  // Of any break: it is answered, and it is over. The file whose second halves are to be done now, if there is one.
  void answered(core::BreakId id, int code);
  std::optional<core::FileKey> over(core::BreakId id);

 private:
  std::map<core::BreakId, core::FileKey> inside_, revokes_;
  std::set<core::FileKey> not_revoked_;
};

// The end on the file that a client knows, after an extension. Never less than before: a successor would not ask for what is
// beyond it.
std::uint64_t told_extended(std::uint64_t told, const core::Extent& lease, std::uint64_t file_size);

// Whoever has complied with such a recall has no memory region on the lease any more.
bool ends_mrs(core::Action asked);
// What the answer to a recall counts for: whoever says that its memory regions are gone is believed when they are.
int credited(core::Action asked, int code, bool has_mrs);

}  // namespace mrlease::session
