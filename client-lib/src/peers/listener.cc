// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/peers/listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <system_error>

namespace mrlease::client::peers {
namespace {

constexpr std::int64_t kLongestMs = 1'000'000;

// Rounded up: a deadline that is looked at too early would be waited for again, at once.
int milliseconds_left(const Interest& interest) {
  if (!interest.until) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*interest.until - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, kLongestMs));
}

}  // namespace

Listener::Listener(std::function<Interest()> interest, std::function<void(const std::vector<int>&)> serve)
    : interest_(std::move(interest)), serve_(std::move(serve)), bell_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!bell_) throw std::system_error(errno, std::generic_category(), "eventfd");
  thread_ = std::thread([this] { run(); });
}

void Listener::ring() {
  const std::uint64_t one = 1;
  (void)!::write(bell_.get(), &one, sizeof one);
}

void Listener::stop() {
  stopping_ = true;
  ring();
  if (thread_.joinable()) thread_.join();
}

void Listener::run() {
  while (!stopping_) {
    const Interest interest = interest_();
    std::vector<pollfd> polled{{bell_.get(), POLLIN, 0}};
    for (const int fd : interest.fds) polled.push_back({fd, POLLIN, 0});
    if (::poll(polled.data(), polled.size(), milliseconds_left(interest)) < 0 && errno != EINTR) return;
    std::uint64_t count;
    (void)!::read(bell_.get(), &count, sizeof count);
    std::vector<int> readable;
    for (std::size_t i = 1; i < polled.size(); i++) {
      if (polled[i].revents != 0) readable.push_back(polled[i].fd);
    }
    if (!stopping_) serve_(readable);
  }
}

}  // namespace mrlease::client::peers
