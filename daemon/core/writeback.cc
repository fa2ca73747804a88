// SPDX-License-Identifier: Apache-2.0
// What RDMA writes may stay off the disk for as long as a lease's terms say: its file is synced from time to time, at the shortest interval
// of its write leases, one sync at a time. It is a Sync like any other, but for what nobody's waiting for it means: no client is
// asked, it does not wait for the thaw of leases that are frozen, and it is over when no lease is left.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/core/state.h"

namespace mrlease::core {
namespace {

// Files that begin together are not synced together, each interval again: each has its sixteenth of it.
Time share(const FileKey& file, Time interval) { return interval / 16 * (1 + LeasedFile::hash(file) % 16); }

}  // namespace

// 0: nobody's terms want any.
Time Arbiter::State::writeback_interval(const FileKey& file) {
  Time shortest = kNever;
  leases.visit(file, {}, [&](const LeaseEntry& entry) {
    const Time interval = terms_of(entry.lease).writeback_interval;
    if (entry.lease.write && interval != 0) shortest = std::min(shortest, interval);
    return true;
  });
  return shortest == kNever ? 0 : shortest;
}

void Arbiter::State::begin_writeback(const Lease& lease, bool among_many) {
  const Time interval = terms_of(lease).writeback_interval;
  if (!lease.write || interval == 0) return;
  const auto [it, first] = writebacks.try_emplace(lease.file);
  Writeback& w = it->second;
  if (first) {
    w = {++last_writeback, now, kNever};
    written_back.emplace(w.number, lease.file);
  } else if (w.due == kNever) {
    return;  // its end goes by all leases of then
  }
  set_writeback(w, std::min(w.due, after(now, among_many ? share(lease.file, interval) : interval)));
}

void Arbiter::State::set_writeback(Writeback& w, Time due) {
  w.due = due;
  timers.set({Timer::Kind::Writeback, w.number}, due);
}

void Arbiter::State::writeback_due(std::uint64_t number) {
  const FileKey file = written_back.at(number);
  if (writeback_interval(file) == 0) return end_writeback(file);
  Writeback& w = writebacks.at(file);
  w.began = now;
  w.due = kNever;
  out.push_back(effect::SyncDue{file});
}

void Arbiter::State::written(const Break& sync) {
  const FileKey& file = sync.ask.file;
  const auto it = writebacks.find(file);
  if (it == writebacks.end()) return;
  // ETIMEDOUT: it goes on, and may succeed.
  if (sync.answer != 0 && sync.answer != ETIMEDOUT) it->second.failed = sync.answer;
  const Time interval = writeback_interval(file);
  if (interval == 0) return end_writeback(file);
  // One that takes longer than the interval is followed by the next: there is no other way to keep to it.
  set_writeback(it->second, std::max(now, after(it->second.began, interval)));
}

// The kernel tells an error once, and it told us: what it has dropped then no later fsync knows of.
void Arbiter::State::tell_unwritten(Break& sync) {
  const auto it = writebacks.find(sync.ask.file);
  if (it == writebacks.end() || it->second.failed == 0) return;
  const int failed = std::exchange(it->second.failed, 0);
  if (sync.answer == 0) sync.answer = failed;
}

void Arbiter::State::unleased(const FileKey& file) {
  const auto it = writebacks.find(file);
  if (it != writebacks.end() && it->second.due != kNever && leases.census(file).all == 0) end_writeback(file);
}

void Arbiter::State::end_writeback(const FileKey& file) {
  const auto it = writebacks.find(file);
  timers.cancel({Timer::Kind::Writeback, it->second.number});
  written_back.erase(it->second.number);
  writebacks.erase(it);
}

}  // namespace mrlease::core
