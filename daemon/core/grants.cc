// SPDX-License-Identifier: Apache-2.0
// New leases, and leases that take back what a truncate had cut off. Both wait while a break has the file.
#include <algorithm>
#include <cerrno>

#include "daemon/core/state.h"

namespace mrlease::core {
namespace {

bool changes_file(BreakKind kind) { return kind != BreakKind::Read && kind != BreakKind::Sync; }

bool moves_end(BreakKind kind) { return kind == BreakKind::Truncate || kind == BreakKind::Destructive; }

bool in_the_way(const FileQueue* queue, const Extent& extent) {
  return queue && std::any_of(queue->breaks.begin(), queue->breaks.end(), [&](const Break* b) {
    return changes_file(b->ask.kind) && b->extent().overlaps(extent);
  });
}

}  // namespace

FileQueue* Arbiter::State::find_queue(const FileKey& file) {
  const auto it = queues.find(file);
  return it == queues.end() ? nullptr : &it->second;
}

void Arbiter::State::request_lease(const event::RequestLease& e) {
  event::RequestLease ask = e;
  Lease& lease = ask.lease;
  if (lease.extent.empty()) return refuse(ask.request, EINVAL, "The range is empty; ask for at least one byte.");
  // Nobody leases what is not there: a caller that leaves the size out gets the careful reading.
  if (lease.on_file_end == 0) lease.on_file_end = lease.extent.end;
  lease.on_file_end = std::min(std::max(lease.on_file_end, lease.extent.begin), lease.extent.end);
  if (try_grant(ask, std::nullopt) == Verdict::Wait) queues[lease.file].grants.push_back({ask, std::nullopt});
}

Arbiter::State::Verdict Arbiter::State::conflicts(const Lease& lease) {
  Verdict verdict = Verdict::Grant;
  leases.visit(lease.file, lease.extent, [&](const LeaseEntry& entry) {
    const Lease& other = entry.lease;
    if ((!lease.write && !other.write) || (lease.share && other.share)) return true;
    verdict = entry.ending != Ending::None ? Verdict::Wait : Verdict::Refused;  // what ends is soon out of the way
    return verdict != Verdict::Refused;
  });
  return verdict;
}

Arbiter::State::Verdict Arbiter::State::try_grant(const event::RequestLease& ask, std::optional<std::uint64_t> size) {
  const Lease& lease = ask.lease;
  const auto refused = [&](int code, const char* message) {
    refuse(ask.request, code, message);
    return Verdict::Refused;
  };
  if (leases.find(lease.id)) return refused(EEXIST, "A lease with this id exists; choose another.");
  if (in_the_way(find_queue(lease.file), lease.extent)) return Verdict::Wait;
  if (size && *size < lease.on_file_end) {
    return refused(ERANGE, "The file was truncated below the range meanwhile; ask again for what is left.");
  }
  const Verdict verdict = conflicts(lease);
  if (verdict == Verdict::Refused) {
    return refused(EBUSY, "A lease that does not share overlaps the range; release it, or have both ask to share.");
  }
  if (verdict == Verdict::Wait) return verdict;
  leases.insert(lease);
  begin_writeback(lease);
  out.push_back(effect::Granted{ask.request, lease.id});
  return Verdict::Grant;
}

void Arbiter::State::extend(const event::ExtendLease& ask) {
  if (try_extend(ask)) return;
  queues[leases.find(ask.lease)->lease.file].extends.push_back({ask});
}

// False: it has to wait.
bool Arbiter::State::try_extend(const event::ExtendLease& ask) {
  LeaseEntry* entry = leases.find(ask.lease);
  const auto refused = [&](int code, const char* message) {
    refuse(ask.request, code, message);
    return true;
  };
  if (!entry || entry->ending != Ending::None) return refused(ENOENT, "The lease has ended; ask for a new one.");
  Lease& lease = entry->lease;
  if (lease.session != ask.session) return refused(EPERM, "The lease belongs to another session; extend your own.");
  if (entry->retired()) return refused(EKEYREVOKED, "The lease was fenced; release it and ask for a new one.");
  if (entry->trims > 0) return false;  // it goes by the end as it was when it began, and would cut the regained off again
  if (const FileQueue* queue = find_queue(lease.file)) {
    const bool wait = std::any_of(queue->breaks.begin(), queue->breaks.end(), [&](const Break* b) {
      // A freeze as well: pages taken back into a frozen range could change the file. Which these are the client knows: what was
      // extended already, it may not have taken back yet.
      return moves_end(b->ask.kind) || (b->ask.kind == BreakKind::Freeze && b->extent().overlaps(lease.extent));
    });
    if (wait) return false;
  }
  // Never less than before: what was cut off without our hearing of it is still better protected than not.
  lease.on_file_end = std::max(lease.on_file_end, std::min(lease.extent.end, ask.file_size));
  out.push_back(effect::Extended{ask.request, ask.lease, ask.file_size});
  return true;
}

void Arbiter::State::serve_waiting(const FileKey& file) {
  FileQueue& queue = queues.at(file);
  for (const WaitingGrant& g : std::exchange(queue.grants, {})) {
    if (try_grant(g.ask, g.size) == Verdict::Wait) queue.grants.push_back(g);
  }
  for (const WaitingExtend& w : std::exchange(queue.extends, {})) {
    if (!try_extend(w.ask)) queue.extends.push_back(w);
  }
}

void Arbiter::State::drop_waiting(SessionId session) {
  for (auto& [file, queue] : queues) {
    std::erase_if(queue.grants, [&](const WaitingGrant& g) { return g.ask.lease.session == session; });
    std::erase_if(queue.extends, [&](const WaitingExtend& w) { return w.ask.session == session; });
    marked.insert(file);
  }
}

}  // namespace mrlease::core
