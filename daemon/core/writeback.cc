// SPDX-License-Identifier: Apache-2.0
// What RDMA writes may stay off the disk for as long as a lease's terms say: its file is synced from time to time, by a Sync like any
// other, which waits for thaws as they do. One at a time of a file, the whole of it, at the shortest interval of its write leases.
#include <algorithm>

#include "daemon/core/state.h"

namespace mrlease::core {

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

void Arbiter::State::begin_writeback(const Lease& lease) {
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
  set_writeback(w, std::min(w.due, after(now, interval)));
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

void Arbiter::State::written(const FileKey& file) {
  const auto it = writebacks.find(file);
  if (it == writebacks.end()) return;
  const Time interval = writeback_interval(file);
  if (interval == 0) return end_writeback(file);
  // One that takes longer than the interval is followed by the next: there is no other way to keep to it.
  set_writeback(it->second, std::max(now, after(it->second.began, interval)));
}

void Arbiter::State::end_writeback(const FileKey& file) {
  const auto it = writebacks.find(file);
  timers.cancel({Timer::Kind::Writeback, it->second.number});
  written_back.erase(it->second.number);
  writebacks.erase(it);
}

}  // namespace mrlease::core
