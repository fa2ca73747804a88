// SPDX-License-Identifier: Apache-2.0
#include "lease_load.h"

#include <variant>

#include "daemon/core/prefetch.h"
#include "processes.h"

namespace mrlease::bench {
namespace {

namespace event = core::event;
namespace effect = core::effect;

constexpr std::uint64_t kPage = 4096, kStride = 4 * kPage, kLength = 6 * kPage;
constexpr std::uint64_t kEnd = (LeaseLoad::kPerFile - 1) * kStride + kLength;
constexpr core::Backing kKinds[] = {core::Backing::OdpTransparent, core::Backing::Bounce, core::Backing::Direct};

}  // namespace

LeaseLoad::LeaseLoad(std::size_t leases, std::size_t per_file) : per_file_(per_file), ids_(leases), file_size_(kEnd) { answers_.reserve(16); }

core::Lease LeaseLoad::lease_at(std::size_t place) const {
  const std::size_t within = place % per_file_;
  core::Lease lease;
  lease.id = ids_[place];
  lease.session = 1 + place / kPerJob * 10 + place % 10;
  lease.file = file_of(place);
  lease.extent = within == 0 ? core::Extent{0, kEnd} : core::Extent{within * kStride, within * kStride + kLength};
  lease.on_file_end = lease.extent.end;
  lease.backing = kKinds[within % 3];
  lease.write = lease.share = true;
  return lease;
}

void LeaseLoad::grant_all() {
  for (std::size_t place = 0; place < ids_.size(); place++) grant(place);
  if (arbiter_.leases() != ids_.size()) die("not every lease was granted");
}

void LeaseLoad::grant(std::size_t place) {
  ids_[place] = ++last_lease_;
  run(event::RequestLease{last_lease_, lease_at(place)});
}

void LeaseLoad::replace_lease() {
  const std::size_t place = next();
  run(event::ReleaseLease{1, ids_[place], lease_at(place).session});
  grant(place);
}

void LeaseLoad::foreign_write() {
  const std::size_t drawn = next(), place = drawn / kPerFile * kPerFile + 1 + drawn % (kPerFile / 3) * 3;  // bounce: see kKinds
  const std::uint64_t begin = lease_at(place).extent.begin + 3 * kPage;  // where no neighbour is
  run(event::RequestBreak{++last_break_, file_of(place), core::BreakKind::Write, {begin, begin + 1}});
}

void LeaseLoad::foreign_truncate() {
  const std::size_t first = next() / kPerFile * kPerFile;
  file_size_ = kEnd - kLength;
  run(event::RequestBreak{++last_break_, file_of(first), core::BreakKind::Truncate, {file_size_, core::kToEnd}, file_size_});
  file_size_ = kEnd;
  for (const std::size_t cut : {first, first + kPerFile - 2, first + kPerFile - 1}) {
    run(event::ExtendLease{1, ids_[cut], lease_at(cut).session, kEnd});
    if (arbiter_.find(ids_[cut])->on_file_end != lease_at(cut).extent.end) die("a lease was not extended");
  }
}

void LeaseLoad::run(const core::Event& event) {
  now_++;
  step(event);
  while (!answers_.empty()) {
    const core::Event next = answers_.back();
    answers_.pop_back();
    step(next);
  }
}

void LeaseLoad::step(const core::Event& event) {
  steps_++;
  for (const core::Effect& e : arbiter_.step(event, now_)) {
    if (const auto* r = std::get_if<effect::Recall>(&e)) answers_.push_back(event::RecallAnswered{r->recall, r->session, 0});
    if (const auto* w = std::get_if<effect::StartWork>(&e)) answers_.push_back(event::WorkDone{w->work, 0});
    if (const auto* p = std::get_if<effect::WatchPassing>(&e)) answers_.push_back(event::OperationLeft{p->id, file_size_});
    if (const auto* r = std::get_if<effect::Refused>(&e)) die("the arbiter refuses: " + r->message);
    if (const auto* r = std::get_if<effect::Report>(&e)) die("the arbiter reports: " + r->what);
  }
}

void LeaseLoad::draw(std::size_t calls, Of of) {
  std::uniform_int_distribution<std::size_t> any(0, ids_.size() - 1), within(0, kPerJob - 1);
  const std::size_t job = any(random_) / kPerJob * kPerJob;
  drawn_.clear();
  for (std::size_t i = 0; i < calls; i++) {
    const std::size_t place = of == Of::Any ? any(random_) : job + within(random_), first = place / kPerFile * kPerFile;
    drawn_.push_back(place);
    for (const std::size_t at : {place, first, first + kPerFile - 1}) core::prefetch(&ids_[at], sizeof ids_[at]);
  }
}

std::size_t LeaseLoad::next() {
  const std::size_t place = drawn_.back();
  drawn_.pop_back();
  return place;
}

}  // namespace mrlease::bench
