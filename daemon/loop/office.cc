// SPDX-License-Identifier: Apache-2.0
#include "daemon/loop/office.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cctype>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "daemon/guard/journal.h"
#include "daemon/sys/pidfd.h"

namespace mrlease::loop {

namespace {

// Starts in a row that did not get so far as to serve. More than any operator's or chaos test's kills at a bad moment.
constexpr std::uint64_t kFailuresMax = 40;
constexpr int kClientsEnd = 2000;  // ms, for each

}  // namespace

Office::Office(keep::Keeper& keeper) : keeper_(keeper) {
  const bool opened = !keeper.active() || open_state();
  listener_ = keeper.take("mrleased.socket");  // only now: until then it may have to move
  if (!listener_) listener_ = keeper.take("listener");
  own_listener_ = !listener_;
  if (!keeper.active()) return;
  if (!opened) {
    abandon();
    open_state();
  }
  follows_ = !state_->fresh();
}

// False: a predecessor's state cannot be taken over.
bool Office::open_state() {
  try {
    journal_ = std::make_unique<keep::Memory>(keeper_, "journal", guard::Journal::bytes());
    reserve_numbers();
    state_memory_ = std::make_unique<keep::Memory>(keeper_, "state", keep::State::bytes());
    state_ = std::make_unique<keep::State>(state_memory_->data());
    drains_memory_ = std::make_unique<keep::Memory>(keeper_, "drains", keep::Table<keep::DrainRecord>::kBytes);
    drains_ = std::make_unique<keep::Table<keep::DrainRecord>>(drains_memory_->data());
    if (state_->head().failures <= kFailuresMax) return true;
    trouble_ = std::to_string(kFailuresMax) + " daemons in a row have failed to take over";
  } catch (const std::runtime_error& e) {
    if (!trouble_.empty()) throw;
    trouble_ = e.what();
  }
  return false;
}

// Nobody may wait for ever, and nobody's device may reach a file that is not protected: the clients end, then what was
// held goes on (the manager closes the groups), and we begin anew.
void Office::abandon() {
  std::vector<sys::Fd> clients;
  for (const std::string& name : keeper_.unclaimed())
    if (name.size() > 1 && name[0] == 'p' && std::isdigit(static_cast<unsigned char>(name[1])) != 0) clients.push_back(keeper_.take(name));
  for (const sys::Fd& client : clients) sys::signal_pidfd(client.get(), SIGKILL);
  for (const sys::Fd& client : clients) {
    pollfd ended{client.get(), POLLIN, 0};
    ::poll(&ended, 1, kClientsEnd);
  }
  trouble_ += "; " + std::to_string(clients.size()) + " clients were killed, what was held goes on, what they owed is lost";
  state_.reset();
  drains_.reset();
  journal_.reset();
  state_memory_.reset();
  drains_memory_.reset();
  keeper_.drop_all();
}

// The kernel takes an answer for whatever event has that number: until the orphans are answered, no new event may get one.
void Office::reserve_numbers() {
  if (!journal_->inherited()) return;
  guard::Journal journal(journal_->data());
  journal.note_read();
  for (const guard::Orphan& orphan : journal.orphans()) {
    if (!keeper_.vacate(orphan.number)) throw std::runtime_error("no descriptor is left to take what was held over with");
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
  if (!h.arming != !h.events) {  // killed between the first and the second: they are one guard
    for (const char* name : {"arming", "events"})
      if (inherited_groups_.erase(name) != 0) keeper_.drop(std::string("g.") + name);
    h.arming.reset();
    h.events.reset();
  }
  h.notices = take("notices");
  h.perm = take("perm");
  return h;
}

void Office::take_over(guard::Guard& guard, session::Broker& broker, std::chrono::milliseconds passing_bound, const Log& log) {
  if (!trouble_.empty()) log(3, trouble_);
  if (!state_) return;
  for (const auto& [name, fd] : guard.groups()) {
    if (inherited_groups_.count(name) != 0) continue;
    if (const int code = keeper_.put("g." + name, fd); code != 0)
      log(3, "the guard will not outlive the daemon: " + std::string(std::strerror(code)));
  }
  broker.adopt(guard.await_passing(passing_bound));
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
