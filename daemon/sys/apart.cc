// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/apart.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/sys/debt.h"

namespace mrlease::sys {
namespace {

constexpr std::size_t kAwayMax = 64;

struct Errand {
  int tid = 0;
  std::function<void()> look;
  bool begun = false, done = false;
  bool late = false;  // nobody waits for it any more
};

// The threads are detached, and one that is left behind must not hold up the exit: it is never destroyed.
struct Office {
  std::mutex mutex;
  std::condition_variable come, back;
  std::vector<std::shared_ptr<Errand>> errands;  // that are not done
  int idle = 0;
  Debt debt{std::chrono::milliseconds(500), std::chrono::milliseconds(20)};
};

Office& office() {
  static Office* const it = new Office;
  return *it;
}

std::shared_ptr<Errand> next_of(const Office& o) {
  const auto at = std::find_if(o.errands.begin(), o.errands.end(), [](const auto& e) { return !e->begun; });
  return at == o.errands.end() ? nullptr : *at;
}

void serve() {
  ::pthread_setname_np(::pthread_self(), "mrl-apart");
  Office& o = office();
  std::unique_lock lock(o.mutex);
  for (;;) {
    std::shared_ptr<Errand> errand;
    ++o.idle;
    o.come.wait(lock, [&] { return (errand = next_of(o)) != nullptr; });
    --o.idle;
    errand->begun = true;
    lock.unlock();
    try {
      errand->look();
    } catch (const std::exception&) {  // nothing was seen
    }
    lock.lock();
    errand->done = true;
    std::erase(o.errands, errand);
    o.back.notify_all();
  }
}

}  // namespace

bool run_apart(int tid, std::function<void()> look, std::chrono::milliseconds most) {
  Office& o = office();
  std::unique_lock lock(o.mutex);
  const auto began = std::chrono::steady_clock::now();
  if (!o.debt.allows(began)) return false;
  if (o.errands.size() >= kAwayMax || std::any_of(o.errands.begin(), o.errands.end(), [tid](const auto& e) { return e->late && e->tid == tid; })) return false;
  const auto errand = std::make_shared<Errand>(Errand{tid, std::move(look)});
  const auto waiting = std::count_if(o.errands.begin(), o.errands.end(), [](const auto& e) { return !e->begun; });
  if (o.idle <= waiting) try {
      std::thread(serve).detach();
    } catch (const std::system_error&) {
      return false;
    }
  o.errands.push_back(errand);
  o.come.notify_one();
  errand->late = !o.back.wait_for(lock, most, [&] { return errand->done; });
  o.debt.waited(std::chrono::steady_clock::now() - began);
  return !errand->late;
}

}  // namespace mrlease::sys
