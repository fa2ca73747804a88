// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/uffd/resolver.h"

#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <system_error>

namespace mrlease::client {
namespace {
alignas(kPage) constexpr char kZeros[kPage] = {};
}

Resolver::Resolver(Userfaultfd userfaultfd) : userfaultfd_(std::move(userfaultfd)), stop_(::eventfd(0, EFD_CLOEXEC)) {
  if (!stop_) throw std::system_error(errno, std::generic_category(), "eventfd");
  thread_ = std::thread([this] { run(); });
}

Resolver::~Resolver() {
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

void Resolver::add(std::shared_ptr<Watch> watch) {
  watch->installed = PageSet(watch->length / kPage);
  watch->touched = PageSet(watch->length / kPage);
  std::lock_guard lock(mutex_);
  watches_[watch->begin] = std::move(watch);
}

void Resolver::remove(std::uint64_t begin) {
  std::lock_guard lock(mutex_);
  watches_.erase(begin);
}

void Resolver::run() {
  pollfd what[2] = {{userfaultfd_.fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
  for (;;) {
    if (::poll(what, 2, -1) < 0) continue;
    if (what[1].revents != 0) return;
    uffd_msg messages[16];
    const ssize_t n = ::read(userfaultfd_.fd(), messages, sizeof messages);
    if (n < static_cast<ssize_t>(sizeof(uffd_msg))) continue;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n) / sizeof(uffd_msg); i++) take(messages[i]);
  }
}

Watch* Resolver::find(std::uint64_t address) {
  auto after = watches_.upper_bound(address);
  if (after == watches_.begin()) return nullptr;
  Watch* watch = std::prev(after)->second.get();
  return address < watch->begin + watch->length ? watch : nullptr;
}

// UFFD_EVENT_REMAP needs no answer: having been read, it lets mremap(2) return.
void Resolver::take(const uffd_msg& message) {
  if (message.event != UFFD_EVENT_PAGEFAULT) return;
  const std::uint64_t page = page_down(message.arg.pagefault.address);
  std::lock_guard lock(mutex_);
  Watch* watch = find(page);
  if (watch == nullptr) {  // the region went away meanwhile
    userfaultfd_.wake(page, kPage);
  } else if (page >= watch->gate_begin && page < watch->gate_end) {
    watch->stalled++;  // whoever opens the gate wakes the whole range
  } else {
    resolve(*watch, page, (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR) != 0);
  }
}

void Resolver::resolve(Watch& watch, std::uint64_t page, bool minor) {
  const std::uint64_t index = (page - watch.begin) / kPage;
  const int code = minor ? userfaultfd_.proceed(page) : fill(watch, page);
  if (code == 0) {
    // It was here before, so its page table entry was taken away by reclaim, perhaps after a write.
    if (!watch.installed.add(index) && minor) watch.touched.add(index);
    (minor ? watch.proceeded : watch.filled)++;
    return;
  }
  if (code == ENOMEM || code == ENOSPC) {  // let others free something: the fault comes again at once
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  // EAGAIN: a remap event waits behind this one. EEXIST: somebody else filled it, and whoever waits must look again.
  // ENOENT: the range is not watched any more. In every case the faulting side tries again.
  userfaultfd_.wake(page, kPage);
}

// The kernel copies from the second mapping: where the file is short (or cannot be read) that is EFAULT, not SIGBUS.
int Resolver::fill(Watch& watch, std::uint64_t page) {
  const std::uint64_t inside = page - watch.begin;
  const int code = userfaultfd_.fill(page, watch.source + inside, kPage);
  if (code != EFAULT) return code;
  struct stat now {};
  if (::fstat(watch.file, &now) == 0 && watch.file_offset + inside < static_cast<std::uint64_t>(now.st_size)) {
    // Two tries, since the file may just have grown; then it is an I/O error. Zeros would be merged over the file.
    const int again = userfaultfd_.fill(page, watch.source + inside, kPage);
    if (again != EFAULT) return again;
    watch.poisoned++;
    return userfaultfd_.poison(page);
  }
  return userfaultfd_.fill(page, kZeros, kPage);
}

}  // namespace mrlease::client
