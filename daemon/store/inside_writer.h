// SPDX-License-Identifier: Apache-2.0
// Writes into a file, and never makes it longer.
//
// fstat() and then pwrite() would, when somebody truncates the file in between: the pwrite brings the old end back, with
// our data and zeros before it. Where no guard holds truncates, the kernel therefore copies into a shared mapping of the
// file instead (a read() of the source whose buffer is the mapping): beyond the file's end that stops with EFAULT,
// whenever the truncate comes. Its price is a fault for each page that is not dirty yet. (MADV_POPULATE_WRITE would save a seventh of it,
// and does not return before 6.9 when the disk fails: seen with 6.1.)
#pragma once

#include <cstddef>
#include <cstdint>

#include "daemon/store/file_work.h"

namespace mrlease::store {

// Not thread-safe. Maps on first use; a file that cannot be mapped for writing is treated as if truncates were held.
class InsideWriter {
 public:
  // For [begin, begin + length) of the file. The descriptor must outlive it.
  InsideWriter(int file, std::uint64_t begin, std::uint64_t length, Truncates truncates);
  ~InsideWriter();
  InsideWriter(const InsideWriter&) = delete;
  InsideWriter& operator=(const InsideWriter&) = delete;

  // Bytes of a memfd; also where they are mapped, if they are.
  struct Source {
    int memfd;
    std::uint64_t offset;
    const char* memory = nullptr;
  };
  // Copies length bytes of the source to the file at offset. 0 or errno. *written: how many are in the file; fewer than
  // length without an error: the file ends there.
  int write(Source source, std::uint64_t offset, std::uint64_t length, std::uint64_t* written);
  // Stores through a mapping move the time stamps only when a page gets dirty: for those who go by mtime, once for each
  // series of writes.
  void touch();

 private:
  int write_mapped(Source source, std::uint64_t offset, std::uint64_t length, std::uint64_t* written);
  int write_plain(Source source, std::uint64_t offset, std::uint64_t length, std::uint64_t* written);
  int write_batch(Source source, std::uint64_t offset, std::size_t length, std::size_t* written);
  int splice_batch(Source source, std::uint64_t offset, std::size_t length, std::size_t* written);
  int why_refused(std::uint64_t offset, std::uint64_t length, std::uint64_t* inside);
  bool map();
  bool open_pipe();

  const int file_;
  const std::uint64_t begin_, length_;
  const Truncates truncates_;
  char* map_ = nullptr;
  bool tried_map_ = false, tried_pipe_ = false;
  int pipe_[2] = {-1, -1};
};

}  // namespace mrlease::store
