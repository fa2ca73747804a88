// SPDX-License-Identifier: Apache-2.0
// Builds the frames that the library sends and checks those that it gets. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client-lib/src/util/outcome.h"
#include "proto/framing.h"

namespace mrlease::client::protocol {

using wire::Frame;

struct FileRange {
  std::uint64_t offset = 0, length = 0;
  bool operator==(const FileRange&) const = default;
};

struct LeaseRequest {
  FileRange range;
  bool write = false;
  wire::v1::Backing backing = wire::v1::BACKING_BOUNCE;
  bool share = false, preserve_orphans = false;
  std::uint32_t peer_budget_ms = 0;
  bool reclaim = false;  // from a daemon that is gone
  std::uint64_t on_file_end = 0;
};

struct MrIdentity {
  std::uint32_t device = 0, handle = 0, lkey = 0, rkey = 0;
  std::uint64_t address = 0, length = 0;
};

Frame hello(const std::string& program);
// device: the number that it has already, after a Resume.
Frame add_device(const std::string& name, std::uint32_t driver_id, std::uint32_t device = 0);
Frame resumed(const std::vector<std::uint64_t>& waiting, std::uint64_t start);
Frame reclaimed();
Frame add_userfaultfd();
Frame register_lease(const LeaseRequest& request);
Frame name_mapped(std::uint64_t address);
Frame add_mr(std::uint64_t lease, const MrIdentity& mr);
Frame remove_mr(std::uint64_t lease, std::uint32_t device, std::uint32_t handle);
Frame release(std::uint64_t lease);
Frame extend(std::uint64_t lease);
// deregistered: of a refusal, that no memory region that was handed back is left.
Frame recall_done(std::uint64_t recall, const Outcome& outcome, bool deregistered = false);
Frame sync_file(FileRange range, bool failed = false);
Frame freeze_file(FileRange range, std::uint32_t hold_ms);
Frame thaw_file(std::uint64_t freeze);
// As many frames as the limit on ranges asks for; neighbouring ranges are joined first (they must be sorted).
std::vector<Frame> merges(std::uint64_t lease, std::uint64_t store, const std::vector<FileRange>& ranges);
// Those, of a store that the daemon has forgotten, whose byte 0 is at `begin` of the file. It goes along with each.
std::vector<Frame> of_orphans(std::vector<Frame> merges, std::uint64_t begin);

// Is this the answer that was asked for? A Status with an error becomes that error; anything else is EPROTO.
Outcome expect(const Frame& reply, Frame::BodyCase wanted);
// A recall that this library can act on: a known action, a length, sizes that do not overflow.
Outcome check_recall(const wire::v1::Recall& recall);
const char* guard_name(wire::v1::Guard guard);

}  // namespace mrlease::client::protocol
