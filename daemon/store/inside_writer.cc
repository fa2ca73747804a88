// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/inside_writer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "daemon/store/page_io.h"

namespace mrlease::store {

// Each one is a truncate and a growth between two looks. Memory that cannot be written for another reason ends there.
constexpr int kRefusalsMax = 1000;
// Between two looks at the file's size; also the pipe's, and what every user may have (/proc/sys/fs/pipe-max-size).
constexpr std::size_t kWriteMax = 1 << 20;

// A mapping starts on a page.
InsideWriter::InsideWriter(int file, std::uint64_t begin, std::uint64_t length, Truncates truncates)
    : file_(file), begin_(begin / kPage * kPage), length_(length + begin % kPage), truncates_(truncates) {}

InsideWriter::~InsideWriter() {
  if (map_ != nullptr) ::munmap(map_, length_);
  for (const int end : pipe_) {
    if (end >= 0) ::close(end);
  }
}

bool InsideWriter::map() {
  if (!tried_map_) {
    tried_map_ = true;
    void* const p = map_file(file_, length_, begin_);
    if (p != MAP_FAILED) map_ = static_cast<char*>(p);
  }
  return map_ != nullptr;
}

// The mapping has refused the page at offset: beyond the end, or it could not be made writable. 0: try again. *inside:
// how many of length are inside the file. A pwrite would tell why as well, but could make the file longer.
int InsideWriter::why_refused(std::uint64_t offset, std::uint64_t length, std::uint64_t* inside) {
  std::uint64_t size = 0;
  if (const int code = file_size(file_, &size); code != 0) return code;
  *inside = size <= offset ? 0 : std::min(length, size - offset);
  if (*inside == 0) return 0;
  const std::uint64_t in_page = std::min(*inside, kPage - offset % kPage);
  int code;
  LeaseInTheWay lease;
  do code = ::fallocate(file_, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(in_page)) == 0 ? 0 : errno;
  while (code == EINTR || lease.removed(file_, code));
  if (code != 0 && code != EOPNOTSUPP) return code;  // ENOSPC, EDQUOT, EIO ...
  // A page that is not in the page cache is read before it is written to: a disk that fails would be asked for it again and again.
  char byte;
  ssize_t n;
  do n = ::pread(file_, &byte, 1, static_cast<off_t>(offset));
  while (n < 0 && (errno == EINTR || lease.removed(file_, errno)));
  return n < 0 ? errno : 0;  // 0: the file was short for a moment only
}

int InsideWriter::write_mapped(Source source, std::uint64_t offset, std::uint64_t length, std::uint64_t* written) {
  for (int refusals = 0; *written < length;) {
    const std::uint64_t at = *written, left = length - at;
    const ssize_t n = ::pread(source.memfd, map_ + (offset + at - begin_), left, static_cast<off_t>(source.offset + at));
    if (n > 0) *written += static_cast<std::uint64_t>(n);
    if (n > 0 || (n < 0 && errno == EINTR)) continue;
    if (n == 0) return EIO;  // a source shorter than it was said to be
    if (errno != EFAULT) return errno;
    std::uint64_t inside = 0;
    const int code = why_refused(offset + at, left, &inside);
    if (code != 0 || inside == 0) return code;
    if (++refusals > kRefusalsMax) return EIO;
  }
  return 0;
}

bool InsideWriter::open_pipe() {
  if (!tried_pipe_) {
    tried_pipe_ = true;
    if (::pipe2(pipe_, O_CLOEXEC) == 0) ::fcntl(pipe_[0], F_SETPIPE_SZ, static_cast<int>(kWriteMax));
  }
  return pipe_[0] >= 0;
}

// The memfd's pages go through the pipe by reference: one copy, and no file position is moved. What is left in the pipe
// after an error would be the start of the next batch: the pipe is given up.
int InsideWriter::splice_batch(Source source, std::uint64_t offset, std::size_t length, std::size_t* written) {
  auto in = static_cast<loff_t>(source.offset), out = static_cast<loff_t>(offset);
  LeaseInTheWay lease;
  while (*written < length) {
    ssize_t ready = ::splice(source.memfd, &in, pipe_[1], nullptr, length - *written, 0);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return ready == 0 ? EIO : errno;
    while (ready > 0) {
      const ssize_t n = ::splice(pipe_[0], nullptr, file_, &out, static_cast<std::size_t>(ready), 0);
      if (n < 0 && (errno == EINTR || lease.removed(file_, errno))) continue;
      if (n <= 0) {
        const int code = n == 0 ? EIO : errno;
        for (int& end : pipe_) ::close(std::exchange(end, -1));
        tried_pipe_ = false;
        return code;
      }
      ready -= n;
      *written += static_cast<std::size_t>(n);
    }
  }
  return 0;
}

int InsideWriter::write_batch(Source source, std::uint64_t offset, std::size_t length, std::size_t* written) {
  if (source.memory != nullptr) return write_all(file_, source.memory, length, offset, written);
  if (open_pipe()) return splice_batch(source, offset, length, written);
  std::vector<char> buffer(length);
  const int code = read_zero_filled(source.memfd, buffer.data(), length, source.offset);
  return code != 0 ? code : write_all(file_, buffer.data(), length, offset, written);
}

int InsideWriter::write_plain(Source source, std::uint64_t offset, std::uint64_t length, std::uint64_t* written) {
  while (*written < length) {
    const std::uint64_t at = *written;
    std::uint64_t size = 0;
    if (const int code = file_size(file_, &size); code != 0) return code;
    if (size <= offset + at) return 0;
    const std::size_t n = std::min<std::uint64_t>({kWriteMax, length - at, size - offset - at});
    const Source rest{source.memfd, source.offset + at, source.memory == nullptr ? nullptr : source.memory + at};
    std::size_t done = 0;
    const int code = write_batch(rest, offset + at, n, &done);
    *written += done;
    if (code != 0) return code;
  }
  return 0;
}

int InsideWriter::write(Source source, std::uint64_t offset, std::uint64_t length, std::uint64_t* written) {
  *written = 0;
  if (offset < begin_ || offset + length > begin_ + length_) return EINVAL;
  if (truncates_ == Truncates::Possible && map()) return write_mapped(source, offset, length, written);
  return write_plain(source, offset, length, written);
}

// Not permitted to us: then it is not for us to say.
void InsideWriter::touch() { ::futimens(file_, nullptr); }

}  // namespace mrlease::store
