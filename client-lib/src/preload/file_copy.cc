// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/preload/file_copy.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace mrlease::preload {

using client::from_errno;
using client::kPage;
using client::Outcome;

namespace {

constexpr std::size_t kBlock = 1 << 20;

// [offset, offset + length) of the file, zeros beyond its end.
Outcome read_file(int fd, char* to, std::size_t length, std::uint64_t offset) {
  while (length > 0) {
    const ssize_t got = ::pread(fd, to, length, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return from_errno("read of the mapped file");
    if (got == 0) break;
    to += got;
    offset += static_cast<std::uint64_t>(got);
    length -= static_cast<std::size_t>(got);
  }
  std::memset(to, 0, length);
  return {};
}

Outcome write_file(int fd, const char* from, std::size_t length, std::uint64_t offset) {
  while (length > 0) {
    const ssize_t put = ::pwrite(fd, from, length, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return from_errno("write to the mapped file");
    from += put;
    offset += static_cast<std::uint64_t>(put);
    length -= static_cast<std::size_t>(put);
  }
  return {};
}

}  // namespace

Outcome FileCopy::create(char* address, std::size_t length, client::FileMapping file, std::unique_ptr<FileCopy>* out) {
  const wire::Fd memory(::memfd_create("mrlease-copy", MFD_CLOEXEC));
  if (!memory || ::ftruncate(memory.get(), static_cast<off_t>(length)) != 0) return from_errno("memory for a copy of the file");
  void* const filled = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (filled == MAP_FAILED) return from_errno("mmap of a copy of the file");
  Outcome o = read_file(file.file.get(), static_cast<char*>(filled), length, file.offset);
  std::unique_ptr<FileCopy> made(new FileCopy(address, static_cast<const char*>(filled), length, std::move(file)));
  if (!o.ok()) return o;
  const int protection = PROT_READ | (made->file_.writable ? PROT_WRITE : 0);
  if (::mmap(address, length, protection, MAP_SHARED | MAP_FIXED, memory.get(), 0) == MAP_FAILED) return from_errno("mmap over the file");
  made->exchanged_ = true;
  if (::madvise(address, length, MADV_DONTFORK) != 0 || ::madvise(filled, length, MADV_DONTFORK) != 0) return from_errno("madvise(MADV_DONTFORK)");
  *out = std::move(made);
  return {};
}

FileCopy::~FileCopy() {
  ::munmap(const_cast<char*>(memory_), length_);
  if (!exchanged_) return;
  ::mmap(address_, length_, PROT_READ | (file_.writable ? PROT_WRITE : 0), MAP_SHARED | MAP_FIXED, file_.file.get(), static_cast<off_t>(file_.offset));
}

Outcome FileCopy::write_back() {
  struct stat now {};
  if (!file_.writable) return {};
  if (::fstat(file_.file.get(), &now) != 0) return from_errno("fstat of the mapped file");
  const auto size = static_cast<std::uint64_t>(now.st_size);
  const std::size_t whole = size <= file_.offset ? 0 : static_cast<std::size_t>(std::min<std::uint64_t>(length_, size - file_.offset));
  std::vector<char> block(std::min(whole, kBlock));
  for (std::size_t at = 0; at < whole; at += kBlock) {
    const std::size_t part = std::min(kBlock, whole - at);
    Outcome o = read_file(file_.file.get(), block.data(), part, file_.offset + at);
    for (std::size_t page = 0; o.ok() && page < part; page += kPage) {
      const std::size_t bytes = std::min<std::size_t>(kPage, part - page);
      if (std::memcmp(block.data() + page, memory_ + at + page, bytes) != 0) {
        o = write_file(file_.file.get(), memory_ + at + page, bytes, file_.offset + at + page);
      }
    }
    if (!o.ok()) return o;
  }
  return {};
}

}  // namespace mrlease::preload
