// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/preload/file_copy.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "client-lib/src/region/store.h"

namespace mrlease::preload {

using client::from_errno;
using client::Outcome;

namespace {

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
  return file_.writable ? client::write_back(file_.file.get(), file_.offset, memory_, length_) : Outcome{};
}

}  // namespace mrlease::preload
