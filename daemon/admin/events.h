// SPDX-License-Identifier: Apache-2.0
// The last events, numbered, for those who watch, count or log them.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "daemon/admin/office.h"
#include "daemon/session/chronicle.h"

namespace mrlease::admin {

using HappeningPtr = std::shared_ptr<const session::Happening>;

// Thread-safe. Consumers and listeners run in the office.
class Events {
 public:
  using Consumer = std::function<void(const session::Happening&)>;
  struct Entry { std::uint64_t sequence; HappeningPtr happening; };
  struct Bounds { std::uint64_t oldest, head; };  // oldest > head: none is kept

  Events(Office& office, std::size_t ring_max);

  void push(session::Chronicle::Batch batch);
  // Sees everything, also what has no number. Before the first push.
  void consume(Consumer consumer) { consumers_.push_back(std::move(consumer)); }
  // Those behind `after`, at most `max`. Nothing: some of them are gone.
  std::optional<std::vector<Entry>> read(std::uint64_t after, std::size_t max) const;
  Bounds bounds() const;
  const std::string& epoch() const { return epoch_; }

  // Office only. Called after each push, while it lives.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void more() = 0;
  };
  void listen(std::weak_ptr<Listener> listener);
  std::size_t listeners() const { return listening_; }

 private:
  void tell(const std::vector<HappeningPtr>& batch);

  Office& office_;
  const std::size_t ring_max_;
  const std::string epoch_;
  std::vector<Consumer> consumers_;
  std::vector<std::weak_ptr<Listener>> listeners_;
  std::atomic<std::size_t> listening_ = 0;
  mutable std::mutex mutex_;
  std::deque<HappeningPtr> ring_;   // of mutex_
  std::uint64_t head_ = 0;          // of mutex_: the number of ring_.back()
};

}  // namespace mrlease::admin
