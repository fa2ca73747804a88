// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace mrlease::test {

// The least of io_uring that can hand requests to its workers.
class Ring {
 public:
  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    if (fd_ < 0) return;
    ::munmap(sq_, sq_bytes_);
    ::munmap(cq_, cq_bytes_);
    ::munmap(entries_, entries_bytes_);
    ::close(fd_);
  }
  bool open() {
    io_uring_params params{};
    fd_ = ::syscall(SYS_io_uring_setup, 8, &params);
    if (fd_ < 0) return false;
    sq_bytes_ = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    cq_bytes_ = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
    entries_bytes_ = params.sq_entries * sizeof(io_uring_sqe);
    sq_ = static_cast<char*>(::mmap(nullptr, sq_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, IORING_OFF_SQ_RING));
    cq_ = static_cast<char*>(::mmap(nullptr, cq_bytes_, PROT_READ, MAP_SHARED, fd_, IORING_OFF_CQ_RING));
    first_ = params.cq_off.cqes;
    entries_ = static_cast<io_uring_sqe*>(::mmap(nullptr, entries_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, IORING_OFF_SQES));
    offsets_ = params.sq_off;
    return sq_ != MAP_FAILED && cq_ != MAP_FAILED && entries_ != MAP_FAILED;
  }
  io_uring_sqe* add(int opcode, int fd) {
    io_uring_sqe* entry = &entries_[count_];
    std::memset(entry, 0, sizeof *entry);
    entry->opcode = opcode;
    entry->fd = fd;
    entry->flags = IOSQE_ASYNC;
    reinterpret_cast<unsigned*>(sq_ + offsets_.array)[count_] = count_;
    ++count_;
    return entry;
  }
  // Nothing is waited for.
  bool submit() {
    __atomic_store_n(reinterpret_cast<unsigned*>(sq_ + offsets_.tail), count_, __ATOMIC_RELEASE);
    return ::syscall(SYS_io_uring_enter, fd_, count_, 0, 0, nullptr, 0) == static_cast<long>(count_);
  }
  // What the first one that is over returns: as its system call, but for the errno, which is negative.
  int result() {
    if (::syscall(SYS_io_uring_enter, fd_, 0, 1, IORING_ENTER_GETEVENTS, nullptr, 0) < 0) return -errno;
    return reinterpret_cast<const io_uring_cqe*>(cq_ + first_)->res;
  }

 private:
  int fd_ = -1;
  unsigned count_ = 0;
  char *sq_ = nullptr, *cq_ = nullptr;
  unsigned first_ = 0;
  std::size_t sq_bytes_ = 0, cq_bytes_ = 0, entries_bytes_ = 0;
  io_uring_sqe* entries_ = nullptr;
  io_sqring_offsets offsets_{};
};

// One request by a worker, of which nobody can tell what it does. As pread(2) and pwrite(2).
inline ssize_t by_worker(int opcode, int fd, void* buffer, std::uint64_t length, std::uint64_t at) {
  Ring ring;
  if (!ring.open()) return -1;
  io_uring_sqe* entry = ring.add(opcode, fd);
  entry->addr = reinterpret_cast<std::uint64_t>(buffer);
  entry->len = static_cast<std::uint32_t>(length);
  entry->off = at;
  if (!ring.submit()) return -1;
  const int result = ring.result();
  if (result >= 0) return result;
  errno = -result;
  return -1;
}

}  // namespace mrlease::test
