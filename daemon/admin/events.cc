// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/events.h"

#include <algorithm>
#include <random>

namespace mrlease::admin {

namespace {

namespace happening = session::happening;

std::string new_epoch() {
  std::random_device random;
  return std::to_string(std::chrono::system_clock::now().time_since_epoch().count()) + "-" + std::to_string(random());
}

// What metrics alone want to know has no number.
bool is_told(const session::Happening& h) {
  if (const auto* answer = std::get_if<happening::RecallAnswered>(&h.what)) return answer->recall.took.has_value();
  return !std::holds_alternative<happening::PagesWritten>(h.what) && !std::holds_alternative<happening::LeaseRefused>(h.what);
}

}  // namespace

Events::Events(Office& office, std::size_t ring_max) : office_(office), ring_max_(ring_max), epoch_(new_epoch()) {}

void Events::push(session::Chronicle::Batch batch) {
  std::vector<HappeningPtr> shared;
  shared.reserve(batch.size());
  for (auto& h : batch) shared.push_back(std::make_shared<const session::Happening>(std::move(h)));
  {
    std::lock_guard lock(mutex_);
    for (const auto& h : shared) {
      if (!is_told(*h)) continue;
      ring_.push_back(h);
      ++head_;
      if (ring_.size() > ring_max_) ring_.pop_front();
    }
  }
  office_.post([this, shared = std::move(shared)] { tell(shared); });
}

void Events::listen(std::weak_ptr<Listener> listener) {
  std::erase_if(listeners_, [](const auto& weak) { return weak.expired(); });
  listeners_.push_back(std::move(listener));
  listening_ = listeners_.size();
}

void Events::tell(const std::vector<HappeningPtr>& batch) {
  for (const auto& consumer : consumers_)
    for (const auto& h : batch) consumer(*h);
  std::erase_if(listeners_, [](const auto& weak) { return weak.expired(); });
  listening_ = listeners_.size();
  for (const auto& weak : std::vector(listeners_))
    if (const auto listener = weak.lock()) listener->more();
}

std::optional<std::vector<Events::Entry>> Events::read(std::uint64_t after, std::size_t max) const {
  std::lock_guard lock(mutex_);
  const std::uint64_t oldest = head_ - ring_.size() + 1;
  if (after + 1 < oldest || after > head_) return {};
  std::vector<Entry> entries;
  for (std::uint64_t n = after + 1; n <= head_ && entries.size() < max; ++n) entries.push_back({n, ring_[n - oldest]});
  return entries;
}

Events::Bounds Events::bounds() const {
  std::lock_guard lock(mutex_);
  return {head_ - ring_.size() + 1, head_};
}

}  // namespace mrlease::admin
