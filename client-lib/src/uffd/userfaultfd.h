// SPDX-License-Identifier: Apache-2.0
// A userfaultfd with the features that a freeze needs, and its ioctls. No state beside the descriptor.
#pragma once

#include <cstddef>
#include <cstdint>

#include "client-lib/src/util/outcome.h"
#include "proto/fd_passing.h"

namespace mrlease::client {

// As the kernel's structures have it.
inline std::uint64_t address(const void* p) { return reinterpret_cast<std::uint64_t>(p); }

// Thread-safe (the kernel's).
class Userfaultfd {
 public:
  // device: a descriptor of /dev/userfaultfd that the daemon has passed; -1: userfaultfd(2), which needs privilege.
  // Fails with what the kernel lacks.
  static Outcome open(int device, Userfaultfd* out);

  int fd() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }

  // All return 0 or errno. Fills and continues leave the page write-protected, so that what is written shows.
  int watch(void* begin, std::size_t length) const;    // UFFDIO_REGISTER: missing, write-protect, minor
  int unwatch(void* begin, std::size_t length) const;  // UFFDIO_UNREGISTER
  int fill(std::uint64_t page, const void* from, std::size_t length, std::size_t* filled = nullptr) const;
  int proceed(std::uint64_t page) const;  // UFFDIO_CONTINUE: the page is in the store already
  int poison(std::uint64_t page) const;
  void wake(std::uint64_t begin, std::size_t length) const;

 private:
  wire::Fd fd_;
};

}  // namespace mrlease::client
