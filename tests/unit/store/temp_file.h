// SPDX-License-Identifier: Apache-2.0
// A file on a real file system, gone with the test, and small readers and writers of pages.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <system_error>

#include "daemon/fence/fence.h"
#include "daemon/store/file_work.h"

namespace mrlease::store {

inline std::string make_dir(const std::string& parent) {
  std::string path = parent + "/mrlease-store-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) throw std::system_error(errno, std::generic_category(), "mkdtemp in " + parent);
  return path;
}

class TempFile {
 public:
  explicit TempFile(const std::string& parent, int flags = O_RDWR) : dir_(make_dir(parent)), path_(dir_ + "/file") {
    const int fd = ::open(path_.c_str(), flags | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) throw std::system_error(errno, std::generic_category(), "open " + path_);
    fd_ = fence::SharedFd(fd);
  }
  ~TempFile() {
    ::unlink(path_.c_str());
    ::rmdir(dir_.c_str());
  }
  int fd() const { return fd_.get(); }
  const fence::SharedFd& shared() const { return fd_; }
  const std::string& path() const { return path_; }
  std::uint64_t size() const {
    struct stat s;
    return ::fstat(fd(), &s) == 0 ? static_cast<std::uint64_t>(s.st_size) : ~0ull;
  }

 private:
  std::string dir_, path_;
  fence::SharedFd fd_;
};

inline void put(int fd, std::uint64_t offset, const std::string& bytes) {
  const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
  if (n != static_cast<ssize_t>(bytes.size())) throw std::system_error(errno, std::generic_category(), "pwrite");
}

inline std::string get(int fd, std::uint64_t offset, std::size_t length) {
  std::string bytes(length, '\0');
  const ssize_t n = ::pread(fd, bytes.data(), length, static_cast<off_t>(offset));
  if (n < 0) throw std::system_error(errno, std::generic_category(), "pread");
  bytes.resize(static_cast<std::size_t>(n));
  return bytes;
}

inline std::string pages(std::uint64_t count, char fill) { return std::string(count * kPage, fill); }

}  // namespace mrlease::store
