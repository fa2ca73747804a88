// SPDX-License-Identifier: Apache-2.0
// An arbiter with so many leases, and what a busy host does to it. Plays sessions, workers and guard, who answer at once.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "daemon/core/arbiter.h"

namespace mrlease::bench {

// A hundred leases a file: one of the whole of it, and the others each over half of its neighbours. Ten clients have ten files in
// common, with ten leases each on each: a job. A third is bounce, direct, on demand; all write and share. Not thread-safe.
class LeaseLoad {
 public:
  static constexpr std::size_t kPerFile = 100, kPerJob = 1000;

  explicit LeaseLoad(std::size_t leases, std::size_t per_file = kPerFile);  // a multiple of kPerJob. Of another number: grant_all() only
  // Grant them all. What the arbiter then has allocated is its own: what the load needs is there before.
  void grant_all();

  // Draw what the next so many calls are of, all of one job or of any: the load's own memory is not what is measured.
  enum class Of { OneJob, Any };
  void draw(std::size_t calls, Of of);
  // Each of a lease, or a file, that was drawn; over when nothing of it is left to do.
  void replace_lease();     // a release and a grant in the same place
  void foreign_write();     // to one page of a bounce lease
  void foreign_truncate();  // of a page at the file's end; the three leases that reach there take it back afterwards
  std::uint64_t steps() const { return steps_; }

 private:
  core::FileKey file_of(std::size_t place) const { return {8, 1000 + place / per_file_}; }
  core::Lease lease_at(std::size_t place) const;
  void grant(std::size_t place);
  void step(const core::Event& event);
  void run(const core::Event& event);  // and what comes of it
  std::size_t next();

  const std::size_t per_file_;
  core::Arbiter arbiter_{core::Policy{}};
  std::vector<core::LeaseId> ids_;    // by place
  std::vector<core::Event> answers_;  // that are due
  std::vector<std::size_t> drawn_;    // places
  std::mt19937 random_{1};
  core::Time now_ = 1000;
  core::LeaseId last_lease_ = 0;
  core::BreakId last_break_ = 0;
  std::uint64_t file_size_ = 0;  // as who leaves an operation finds it
  std::uint64_t steps_ = 0;
};

}  // namespace mrlease::bench
