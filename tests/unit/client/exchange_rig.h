// SPDX-License-Identifier: Apache-2.0
// An exchange over a file of its own, without RDMA: CPU threads that store into the region stand in for the device.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "client-lib/src/region/posting_guard.h"
#include "client-lib/src/uffd/exchange.h"
#include "client-lib/src/util/lane.h"

namespace mrlease::client {

using Clock = std::chrono::steady_clock;

// The daemon's part: it writes from the store to the file, in a thread of its own.
class MergingDaemon {
 public:
  explicit MergingDaemon(int file) : file_(file) {}
  Outcome merge(const Store& store, const std::vector<protocol::FileRange>& ranges) {
    std::promise<Outcome> done;
    lane_.post([&] { done.set_value(write(store, ranges)); });
    return done.get_future().get();
  }
  std::function<void(int nth)> during;  // runs inside each merge, behind its work
  std::atomic<int> fail{0};             // errno for the next merges
  std::atomic<int> fail_after{-1};      // that many merges go well first
  std::atomic<int> merges{0};

 private:
  Outcome write(const Store& store, const std::vector<protocol::FileRange>& ranges) {
    merges++;
    if (fail_after >= 0 && fail_after-- == 0) return {ENOSPC, "scripted"};
    if (fail != 0) return {fail, "scripted"};
    struct stat now {};
    ::fstat(file_, &now);
    char page[kPage];
    for (const auto& r : ranges) {
      for (std::uint64_t o = r.offset; o < r.offset + r.length; o += kPage) {
        if (o >= static_cast<std::uint64_t>(now.st_size)) continue;
        const std::uint64_t n = std::min(kPage, static_cast<std::uint64_t>(now.st_size) - o);
        if (::pread(store.memfd.get(), page, n, static_cast<off_t>(o - store.begin)) < 0) return from_errno("pread");
        if (::pwrite(file_, page, n, static_cast<off_t>(o)) != static_cast<ssize_t>(n)) return from_errno("pwrite");
      }
    }
    if (during) during(merges);
    return {};
  }
  const int file_;
  Lane lane_;
};

inline constexpr std::uint64_t kPages = 512, kFileOffset = 2 * kPage;

struct Rig {
  Rig() {
    std::string path = ::testing::TempDir() + "/mrlease-exchange-XXXXXX";
    file = wire::Fd(::mkostemp(path.data(), O_CLOEXEC));
    ::unlink(path.c_str());
    std::string content(kFileOffset + kPages * kPage, 'a');
    if (::pwrite(file.get(), content.data(), content.size(), 0) != static_cast<ssize_t>(content.size())) std::abort();
    layout.length = kPages * kPage;
    layout.file = file.get();
    layout.file_offset = kFileOffset;
    layout.protection = PROT_READ | PROT_WRITE;
    if (!map_file(layout, 0, kPages, layout.protection, false, &layout.base).ok()) std::abort();
    daemon = std::make_unique<MergingDaemon>(file.get());
  }
  ~Rig() {
    exchange.reset();
    resolver.reset();
    ::munmap(layout.base, layout.length);
  }
  // What userfaultfd says; a machine that grants none skips on exactly that.
  Outcome start(std::uint32_t budget_ms = 200) {
    Userfaultfd made;
    Outcome o = Userfaultfd::open(-1, &made);
    if (!o.ok()) return o;
    resolver = std::make_unique<Resolver>(std::move(made));
    exchange = std::make_unique<Exchange>(
        *resolver, pagemap, layout, [this](const Store& s, const auto& r) { return daemon->merge(s, r); }, budget_ms);
    return exchange->start();
  }
  // How often the application is asked to be quiet, while daemons are replaced (by the test).
  void look_on() {
    exchange->on_daemons([this] { return daemons; }, [this] { return took_over; });
    exchange->on_long_stall([this](Deadline) { asked++; });
  }
  Store store(std::uint64_t id, std::uint64_t begin, std::uint64_t length) {
    Store s{id, wire::Fd(::memfd_create("store", MFD_CLOEXEC)), begin, begin + length};
    if (::ftruncate(s.memfd.get(), static_cast<off_t>(page_up(length))) != 0) std::abort();
    return s;
  }
  Outcome freeze(std::uint64_t id, std::uint64_t offset = kFileOffset, std::uint64_t length = kPages * kPage) {
    return exchange->freeze(store(id, offset, length), offset, length);
  }
  std::string content() const {
    struct stat now {};
    ::fstat(file.get(), &now);
    std::string all(static_cast<std::size_t>(now.st_size), 0);
    if (::pread(file.get(), all.data(), all.size(), 0) != now.st_size) std::abort();
    return all;
  }
  char& at(std::uint64_t page, std::uint64_t inside = 0) { return layout.base[page * kPage + inside]; }
  char in_file(std::uint64_t page, std::uint64_t inside = 0) const {
    char c = 0;
    (void)!::pread(file.get(), &c, 1, static_cast<off_t>(kFileOffset + page * kPage + inside));
    return c;
  }

  wire::Fd file;
  Layout layout;
  Pagemap pagemap;
  std::unique_ptr<MergingDaemon> daemon;
  std::unique_ptr<Resolver> resolver;
  std::unique_ptr<Exchange> exchange;
  std::uint64_t daemons = 1;
  Deadline took_over;
  int asked = 0;
};

inline Deadline soon() { return Clock::now() + std::chrono::seconds(30); }

// Threads that store, each into words of its own, and know what they stored last.
class Writers {
 public:
  explicit Writers(Rig& rig) : rig_(rig) {
    for (int t = 0; t < kThreads; t++) threads_.emplace_back([this, t] { run(t); });
  }
  ~Writers() {
    stop_ = true;
    guard_.open();
    for (auto& t : threads_) t.join();
  }
  std::uint64_t stores() const { return stores_; }
  void wait_for_stores(std::uint64_t more) const {
    const std::uint64_t until = stores_ + more;
    while (stores_ < until) std::this_thread::yield();
  }
  // All of them are outside until go_on(). False: not in time.
  bool quiet() {
    guard_.close();
    return guard_.wait_drained(soon(), [] { return false; });
  }
  void go_on() { guard_.open(); }
  // With all of them outside: how many words are not in the file as they were stored last.
  std::uint64_t lost() {
    if (!quiet()) return ~0ull;
    std::uint64_t wrong = 0;
    const std::string all = rig_.content();
    for (int t = 0; t < kThreads; t++) {
      for (std::uint64_t p = 0; p < kPages; p++) {
        std::uint64_t there;
        std::memcpy(&there, all.data() + kFileOffset + p * kPage + word(t), 8);
        if (last_[t][p] != 0 && there != last_[t][p]) wrong++;
      }
    }
    go_on();
    return wrong;
  }

 private:
  static constexpr int kThreads = 2;
  static std::uint64_t word(int t) { return 64 * static_cast<std::uint64_t>(t + 1); }
  void run(int t) {
    std::mt19937 random(static_cast<unsigned>(t) + 1);
    for (std::uint64_t n = 1; !stop_;) {
      if (guard_.enter() != 0) {
        std::this_thread::yield();
        continue;
      }
      const std::uint64_t p = random() % kPages;
      std::memcpy(rig_.layout.base + p * kPage + word(t), &n, 8);
      last_[t][p] = n++;
      guard_.leave();
      stores_++;
    }
  }
  Rig& rig_;
  PostingGuard guard_;
  std::array<std::array<std::uint64_t, kPages>, kThreads> last_{};
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> stores_{0};
  std::vector<std::thread> threads_;
};

// More: of Rig::start().
#define START_OR_SKIP(rig, ...)                                                        \
  {                                                                                    \
    const Outcome started = (rig).start(__VA_ARGS__);                                  \
    if (started.code == EPERM || started.code == EINVAL) GTEST_SKIP() << started.text; \
    ASSERT_TRUE(started.ok()) << started.text;                                         \
  }

}  // namespace mrlease::client
