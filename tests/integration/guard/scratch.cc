// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/guard/scratch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stdexcept>

namespace mrlease::guard::test {

Scratch::Scratch() {
  const char* base = ::getenv("MRLEASE_TEST_DIR");
  dir_ = std::string(base ? base : "/var/tmp") + "/mrlease-guard-XXXXXX";
  if (!::mkdtemp(dir_.data())) throw std::runtime_error("no directory for the test: set MRLEASE_TEST_DIR");
  ::chmod(dir_.c_str(), 0755);
  path_ = dir_ + "/file";
  sys::Fd fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ::fchmod(fd.get(), 0666);
  std::string data(kFileSize, 'x');
  if (::write(fd.get(), data.data(), data.size()) != static_cast<ssize_t>(data.size()) || ::fsync(fd.get()))
    throw std::runtime_error("cannot fill the test's file: is the disk full?");
}

Scratch::~Scratch() {
  ::unlink(path_.c_str());
  ::rmdir(dir_.c_str());
}

core::FileKey Scratch::key() const {
  struct stat st {};
  ::stat(path(), &st);
  return {st.st_dev, st.st_ino};
}

std::uint64_t Scratch::size() const {
  struct stat st {};
  ::stat(path(), &st);
  return st.st_size;
}

std::uint64_t Scratch::blocks() const {
  struct stat st {};
  ::stat(path(), &st);
  return st.st_blocks;
}

sys::Fd Scratch::open(int flags) const { return sys::Fd(::open(path(), O_RDWR | O_CLOEXEC | flags)); }

}  // namespace mrlease::guard::test
