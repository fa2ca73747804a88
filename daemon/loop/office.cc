// SPDX-License-Identifier: Apache-2.0
#include "daemon/loop/office.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "daemon/guard/journal.h"

namespace mrlease::loop {

Office::Office(keep::Keeper& keeper) : keeper_(keeper), listener_(keeper.take("mrleased.socket")) {
  if (!listener_) listener_ = keeper.take("listener");
  own_listener_ = !listener_;
  if (!keeper.active()) return;
  journal_ = std::make_unique<keep::Memory>(keeper, "journal", guard::Journal::bytes());
  reserve_numbers();
  state_memory_ = std::make_unique<keep::Memory>(keeper, "state", keep::State::bytes());
  state_ = std::make_unique<keep::State>(state_memory_->data());
  follows_ = !state_->fresh();
}

// The kernel takes an answer for whatever event has that number: until the orphans are answered, no new event may get one.
void Office::reserve_numbers() {
  if (!journal_->inherited()) return;
  for (const guard::Orphan& orphan : guard::Journal(journal_->data()).orphans()) {
    keeper_.vacate(orphan.number);
    const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing < 0 || nothing == orphan.number) continue;
    ::dup3(nothing, orphan.number, O_CLOEXEC);
    ::close(nothing);
  }
}

guard::Heritage Office::heritage() {
  guard::Heritage h;
  if (!state_) return h;
  h.journal = journal_->data();
  h.follows = follows_;
  const auto take = [this](const char* name) {
    sys::Fd fd = keeper_.take(std::string("g.") + name);
    if (fd) inherited_groups_.insert(name);
    return fd;
  };
  h.arming = take("arming");
  h.events = take("events");
  h.notices = take("notices");
  h.perm = take("perm");
  return h;
}

void Office::take_over(guard::Guard& guard, session::Broker& broker, std::chrono::milliseconds passing_bound, const Log& log) {
  if (!state_) return;
  for (const auto& [name, fd] : guard.groups()) {
    if (inherited_groups_.count(name) != 0) continue;
    if (const int code = keeper_.put("g." + name, fd); code != 0)
      log(3, "the guard will not outlive the daemon: " + std::string(std::strerror(code)));
  }
  const auto changing = guard.await_passing(passing_bound);
  broker.adopt(changing);
  const std::string found = guard.begin();
  if (!found.empty()) log(1, found);
}

void Office::keep_listener(int fd) {
  if (own_listener_) keeper_.put("listener", fd);
}

void Office::serves() {
  if (state_) state_->head().failures = 0;
}

}  // namespace mrlease::loop
