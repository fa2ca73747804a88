// SPDX-License-Identifier: Apache-2.0
// A device fault that waits in a userfaultfd must be let go before its MR is destroyed: on 7.3.4 a destroy waited 52 s
// for it and then oopsed. UFFDIO_POISON answers the fault with an error; nothing of the client's needs to run.
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/fence/fence.h"
#include "proto/kernel_uapi.h"

namespace mrlease::fence {
namespace {

constexpr std::uint64_t kPage = 4096;
// Events are drained this often while the client's mapping is changing; each pass waits up to kDrainMs for one.
constexpr int kDrainsMax = 100;
constexpr int kDrainMs = 5;

// A client that was stopped inside mremap() leaves an event that nobody reads, and until it is read every ioctl is
// EAGAIN. We read it in the client's place: its thread then leaves the kernel's wait even while it is stopped.
void drain_events(int userfaultfd) {
  pollfd p{userfaultfd, POLLIN, 0};
  uffd_msg message;
  // poll() first, since the descriptor may be a blocking one. Then it says POLLERR at once, and all that is left is to
  // give the client's own reader time.
  const int ready = ::poll(&p, 1, kDrainMs);
  if (ready > 0 && (p.revents & POLLIN) != 0) {
    const ssize_t n = ::read(userfaultfd, &message, sizeof message);
    // A fault of another region of this client: its own reader has missed it now, so it must come again.
    if (n == sizeof message && message.event == UFFD_EVENT_PAGEFAULT) {
      uffdio_range page{message.arg.pagefault.address & ~(kPage - 1), kPage};
      ::ioctl(userfaultfd, UFFDIO_WAKE, &page);
    }
  } else if (ready > 0) {
    ::poll(nullptr, 0, kDrainMs);
  }
}

// Poisons the start of [address, address + length). 0: *done bytes are poisoned (0 bytes: try again). Else errno.
int poison_some(int userfaultfd, std::uint64_t address, std::uint64_t length, std::uint64_t* done) {
  uffdio_poison request{{address, length}, 0, 0};
  *done = 0;
  if (::ioctl(userfaultfd, UFFDIO_POISON, &request) == 0) {
    *done = length;
    return 0;
  }
  // Stopped at a page that is present, or at the end of a mapping: `updated` says how far it came.
  if (errno == EAGAIN && request.updated > 0) *done = static_cast<std::uint64_t>(request.updated);
  return errno == EAGAIN ? 0 : errno;
}

}  // namespace

int poison(int userfaultfd, std::uint64_t address, std::uint64_t length) {
  const std::uint64_t begin = address & ~(kPage - 1);
  const std::uint64_t end = (address + length + kPage - 1) & ~(kPage - 1);
  if (end <= begin) return length == 0 ? 0 : EINVAL;
  std::uint64_t chunk = end - begin;
  int drains = 0;
  for (std::uint64_t at = begin; at < end;) {
    chunk = std::min(chunk, end - at);
    std::uint64_t done = 0;
    const int code = poison_some(userfaultfd, at, chunk, &done);
    if (code == 0 && done > 0) {
      at += done;
      chunk *= 2;
    } else if (code == 0) {
      if (++drains > kDrainsMax) return EAGAIN;
      drain_events(userfaultfd);
    } else if (code == ENOENT && chunk > kPage) {
      // Not registered, or more than one mapping: look at a smaller piece.
      chunk = std::max(kPage, chunk / 2 & ~(kPage - 1));
    } else if (code == EEXIST || code == ENOENT) {
      at += kPage;  // present: no fault waits there. Not registered: none can.
    } else {
      return code;  // ESRCH: the process is gone, and with it what waited
    }
  }
  // Who waits at a page that was present already has not been woken by the poison.
  uffdio_range whole{begin, end - begin};
  return ::ioctl(userfaultfd, UFFDIO_WAKE, &whole) == 0 ? 0 : errno;
}

}  // namespace mrlease::fence
