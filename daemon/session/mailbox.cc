// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/mailbox.h"

#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>

namespace mrlease::session {
namespace {

// Looking at a task takes the guard half of it. Longer, and the loop would better have slept.
constexpr std::chrono::microseconds kAwake{50};
// Then everybody else has a turn: clients, timers, and who looks whether the loop is alive.
constexpr std::size_t kTurn = 64;

int make_eventfd() {
  const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "no eventfd: raise the daemon's limit of descriptors");
  return fd;
}

}  // namespace

Mailbox::Mailbox(asio::io_context& loop) : wake_(loop, make_eventfd()) { wait(); }

void Mailbox::post(Note note) {
  bool first;
  {
    std::lock_guard lock(mutex_);
    first = !announced_.exchange(false) && notes_.empty();
    notes_.push_back(std::move(note));
  }
  if (first) ring();  // whoever puts the first one wakes the loop, which then takes all
}

void Mailbox::announce() {
  {
    std::lock_guard lock(mutex_);
    if (!notes_.empty() || announced_.exchange(true)) return;
  }
  ring();
}

void Mailbox::ring() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(wake_.native_handle(), &one, sizeof one);  // full: it is awake already
}

// Yields, so that on a single CPU the other thread gets on.
void Mailbox::await_announced() {
  if (!announced_) return;
  const auto until = std::chrono::steady_clock::now() + kAwake;
  while (announced_ && std::chrono::steady_clock::now() < until) ::sched_yield();
}

void Mailbox::wait() {
  wake_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
    if (error) return;  // closed, with the mailbox
    run();
    wait();
  });
}

void Mailbox::run() {
  std::uint64_t count;
  // Before the notes are taken: one that is put afterwards wakes the loop again.
  [[maybe_unused]] const ssize_t n = ::read(wake_.native_handle(), &count, sizeof count);
  if (running_.empty()) {
    await_announced();
    std::lock_guard lock(mutex_);
    announced_ = false;
    running_.swap(notes_);
  }
  for (const std::size_t end = std::min(running_.size(), next_ + kTurn); next_ < end; next_++) running_[next_]();
  if (next_ < running_.size()) return ring();
  running_.clear();
  next_ = 0;
  std::lock_guard lock(mutex_);
  if (!notes_.empty() || announced_) ring();  // their own ring may have been heard while others had their turn
}

}  // namespace mrlease::session
