// SPDX-License-Identifier: Apache-2.0
// Whole reads and writes: short transfers and EINTR are gone on with.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mrlease::store {

// Bytes of one transfer: large enough for bandwidth, small enough to stay in a core's cache between read and write.
inline constexpr std::size_t kBatch = 256 * 1024;

// The daemon's own calls on a file are asked for, too, where the guard holds reads and writes, and for each the kernel opens the file: it says
// EPERM while a lease is on it (fcntl(2), F_SETLEASE). That can be one of the client's own only, on the description that is ours as well.
class LeaseInTheWay {
 public:
  // It was the reason, and is gone: try again; a few times, should the client go on with it. errno is `error` afterwards.
  bool removed(int fd, int error);

 private:
  int left_ = 16;
};

// Reads length bytes; what lies beyond the end of the file is zeros. 0 or errno.
int read_zero_filled(int fd, char* buffer, std::size_t length, std::uint64_t offset);
// 0 or errno. *written: how many bytes are in the file, also after an error.
int write_all(int fd, const char* buffer, std::size_t length, std::uint64_t offset, std::size_t* written);
// Shared, to read and to write. MAP_FAILED: errno.
void* map_file(int fd, std::size_t length, std::uint64_t offset);
// 0 or errno.
int file_size(int fd, std::uint64_t* size);

}  // namespace mrlease::store
