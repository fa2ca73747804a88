// SPDX-License-Identifier: Apache-2.0
// The resolver: a private thread that answers the faults of frozen ranges.
//
// Its rules, each found by trying: it never touches leased memory (its own fault would wait for itself); mremap(2) of a
// watched range runs on another thread (it waits until this one has read its event); on EAGAIN, which means that such
// an event is waiting, the page is woken and reading goes on: retrying in place hangs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "client-lib/src/uffd/userfaultfd.h"
#include "client-lib/src/util/page_set.h"

struct uffd_msg;

namespace mrlease::client {

// One region as the resolver sees it. After Resolver::add() the fields belong to the resolver's lock.
struct Watch {
  std::uint64_t begin = 0, length = 0;  // the region's addresses
  const char* source = nullptr;         // a second mapping of the same range of the file
  int file = -1;
  std::uint64_t file_offset = 0;
  std::uint64_t gate_begin = 0, gate_end = 0;  // faults in here are left waiting (addresses)
  // Per page. installed: it was put into this mapping once. touched: it may have been written without the page table
  // knowing any more (it was reclaimed after a write, or a merge failed): merge it whatever the scan says.
  PageSet installed, touched;
  std::uint64_t filled = 0, proceeded = 0, stalled = 0, poisoned = 0;
};

// Thread-safe.
class Resolver {
 public:
  explicit Resolver(Userfaultfd userfaultfd);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  const Userfaultfd& userfaultfd() const { return userfaultfd_; }
  void add(std::shared_ptr<Watch> watch);
  void remove(std::uint64_t begin);
  // Read and change watches under this.
  [[nodiscard]] std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }

 private:
  void run();
  void take(const uffd_msg& message);
  Watch* find(std::uint64_t address);
  void resolve(Watch& watch, std::uint64_t page, bool minor);
  int fill(Watch& watch, std::uint64_t page);

  Userfaultfd userfaultfd_;
  wire::Fd stop_;
  std::mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<Watch>> watches_;  // by begin
  std::thread thread_;
};

}  // namespace mrlease::client
