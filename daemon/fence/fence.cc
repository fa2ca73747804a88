// SPDX-License-Identifier: Apache-2.0
// Two detached threads for each fence: a WORKER that makes the calls that can hang in the kernel, and a WATCHER that
// waits for it no longer than its share of the deadline, kills where that was not enough, and reports. What they share
// is owned by both, so that a worker that hangs may be abandoned for as long as the kernel likes.
#include "daemon/fence/fence.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace mrlease::fence {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kBusyPause = std::chrono::milliseconds(1);

struct Shared {
  std::mutex mutex;
  std::condition_variable finished;
  bool done = false;       // under mutex
  bool abandoned = false;  // under mutex
  int code = 0;            // under mutex, valid when done
  std::string text;        // under mutex, valid when done
};

bool abandoned(Shared* shared) {
  std::lock_guard lock(shared->mutex);
  return shared->abandoned;
}

struct Answer {
  int code = 0;
  std::string text;
};

void finish(Shared* shared, Answer answer) {
  std::lock_guard lock(shared->mutex);
  shared->code = answer.code;
  shared->text = std::move(answer.text);
  shared->done = true;
  shared->finished.notify_all();
}

std::string error_text(int code) { return std::string(std::strerror(code)) + " (" + std::to_string(code) + ")"; }

// EBUSY: the owner is destroying it at this moment, or another call holds it.
int destroy_patiently(const Mr& mr, Shared* shared) {
  for (;;) {
    const int code = destroy_mr(mr);
    if ((code != EBUSY && code != EINTR) || abandoned(shared)) return code;
    std::this_thread::sleep_for(kBusyPause);
  }
}

Answer poison_and_destroy(const Order& order, Shared* shared) {
  if (order.userfaultfd) {
    for (const Gated& range : order.gated) {
      const int code = poison(order.userfaultfd.get(), range.address, range.length);
      if (code == ESRCH) break;  // no memory, no fault
      // Never destroy with a fault waiting: kernels with userfaultfd waits in ODP hang in it, and then oops.
      if (code != 0) return {code, "cannot poison the client's gated memory: " + error_text(code)};
    }
  }
  std::size_t destroyed = 0, gone = 0, failed = 0;
  int first_error = 0;
  for (const Mr& mr : order.mrs) {
    if (abandoned(shared)) return {ETIMEDOUT, {}};
    const int code = destroy_patiently(mr, shared);
    if (code == 0) destroyed++;
    if (code == ENOENT) gone++;
    if (code == 0 || code == ENOENT) continue;
    failed++;  // go on: every MR that can be cut off is
    if (first_error == 0) first_error = code;
  }
  std::string text = std::to_string(destroyed) + " memory regions destroyed, " + std::to_string(gone) + " already gone";
  if (failed > 0) text += ", " + std::to_string(failed) + " could not be destroyed: " + error_text(first_error);
  return {first_error, std::move(text)};
}

// 0, ESRCH when it is gone already, or errno. glibc 2.36 has no declaration for older feature sets: raw.
int kill_process(const SharedFd& pidfd) {
  if (!pidfd) return EBADF;
  return ::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0u) == 0 ? 0 : errno;
}

// A pidfd is readable when the process has exited, its descriptors closed.
bool wait_exit(const SharedFd& pidfd, Clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd p{pidfd.get(), POLLIN, 0};
    const int n = ::poll(&p, 1, left > 0 ? static_cast<int>(left) : 0);
    if (n >= 0 || errno != EINTR) return n > 0;
  }
}

Result killed(const SharedFd& pidfd, Clock::time_point deadline, std::string why) {
  const int code = kill_process(pidfd);
  if (code == EBADF) return {Outcome::Failed, why + "; there is no pidfd to kill the client by"};
  if (code != 0 && code != ESRCH) return {Outcome::Failed, why + "; SIGKILL failed: " + error_text(code)};
  const bool exited = code == ESRCH || wait_exit(pidfd, deadline);
  return {Outcome::Killed, why + (exited ? "; the client is dead" : "; SIGKILL is sent, the client has not exited yet")};
}

// True when the worker finished before `until`; then code and text are its answer. Else it is abandoned.
bool wait_worker(Shared* shared, Clock::time_point until, int* code, std::string* text) {
  std::unique_lock lock(shared->mutex);
  if (!shared->finished.wait_until(lock, until, [shared] { return shared->done; })) {
    shared->abandoned = true;
    return false;
  }
  *code = shared->code;
  *text = shared->text;
  return true;
}

Result watch(const std::shared_ptr<const Order>& order, Clock::time_point start) {
  const Clock::time_point deadline = start + order->deadline;
  // The last fifth is for the death of a client that had to be killed.
  const Clock::time_point worker_until = order->kill_at_once ? deadline : deadline - order->deadline / 5;
  const int kill_code = order->kill_at_once ? kill_process(order->pidfd) : 0;
  auto shared = std::make_shared<Shared>();
  std::thread([mine = order, shared]() mutable {
    Answer answer = poison_and_destroy(*mine, shared.get());
    mine.reset();
    finish(shared.get(), std::move(answer));
  }).detach();
  int code = 0;
  std::string text;
  const bool finished = wait_worker(shared.get(), worker_until, &code, &text);
  if (!finished) text = "the kernel did not destroy the memory regions in time";
  const bool by_policy = order->kill_at_once && (kill_code == 0 || kill_code == ESRCH);
  if (finished && code == 0) return by_policy ? Result{Outcome::Killed, "killed by policy; " + text} : Result{Outcome::Destroyed, text};
  return killed(order->pidfd, deadline, text);
}

// What runs when not even a thread can be had.
Result last_resort(const Order& order, const char* why) {
  return killed(order.pidfd, Clock::now(), std::string("no thread for the fence: ") + why);
}

}  // namespace

void run(Order order, std::function<void(Result)> done) {
  const Clock::time_point start = Clock::now();
  auto shared_order = std::make_shared<const Order>(std::move(order));
  auto body = [shared_order, done, start]() mutable {
    Result result;
    try {
      result = watch(shared_order, start);
    } catch (const std::exception& e) {
      result = last_resort(*shared_order, e.what());
    }
    shared_order.reset();  // done() may rely on it that the fence holds no duplicate any more, a hung worker's apart
    done(std::move(result));
  };
  try {
    std::thread(std::move(body)).detach();
  } catch (const std::exception& e) {
    done(last_resort(*shared_order, e.what()));
  }
}

}  // namespace mrlease::fence
