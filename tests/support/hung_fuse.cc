// SPDX-License-Identifier: Apache-2.0
#include "tests/support/hung_fuse.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

namespace mrlease::test {
namespace {

constexpr std::uint64_t kFile = 2;  // the root is FUSE_ROOT_ID, 1

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

template <class T>
std::string bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// Nothing is valid for any time: the kernel has to ask again.
fuse_attr attributes(std::uint64_t node) {
  fuse_attr a{};
  a.ino = node;
  a.mode = node == kFile ? S_IFREG | 0666 : S_IFDIR | 0755;
  a.nlink = 1;
  a.size = node == kFile ? 1 << 20 : 0;
  return a;
}

}  // namespace

HungFuse::HungFuse(std::string directory)
    : directory_(std::move(directory)),
      device_(::open("/dev/fuse", O_RDWR | O_CLOEXEC)),
      stop_(::eventfd(0, EFD_CLOEXEC)) {
  if (!device_) fail("/dev/fuse");
  ::mkdir(directory_.c_str(), 0755);
  const std::string options = "fd=" + std::to_string(device_.get()) + ",rootmode=40000,user_id=0,group_id=0,allow_other";
  if (::mount("hung", directory_.c_str(), "fuse", MS_NOSUID | MS_NODEV, options.c_str()) != 0) fail("mount of fuse");
  thread_ = std::thread([this] { serve(); });
}

HungFuse::~HungFuse() {
  hang();
  device_ = wire::Fd();  // the last one: the connection is aborted
  ::umount2(directory_.c_str(), MNT_DETACH);
  ::rmdir(directory_.c_str());
}

wire::Fd HungFuse::open_file() const {
  wire::Fd fd(::open((directory_ + "/file").c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) fail("open on fuse");
  return fd;
}

void HungFuse::hang() {
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

void HungFuse::serve() {
  std::vector<char> request(FUSE_MIN_READ_BUFFER + (1 << 17));
  for (;;) {
    pollfd what[2] = {{device_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (::poll(what, 2, -1) < 0) continue;
    if (what[1].revents != 0) return;
    if (::read(device_.get(), request.data(), request.size()) < static_cast<ssize_t>(sizeof(fuse_in_header))) continue;
    std::string body;
    int error = 0;
    if (!answer(request.data(), &body, &error)) continue;
    fuse_out_header out{};
    std::memcpy(&out.unique, request.data() + offsetof(fuse_in_header, unique), sizeof out.unique);
    out.error = -error;
    out.len = static_cast<std::uint32_t>(sizeof out + body.size());
    const std::string packet = bytes_of(out) + body;
    [[maybe_unused]] const ssize_t n = ::write(device_.get(), packet.data(), packet.size());
  }
}

// False: this request has no answer.
bool HungFuse::answer(const char* request, std::string* body, int* error) const {
  fuse_in_header in;
  std::memcpy(&in, request, sizeof in);
  switch (in.opcode) {
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET: return false;
    case FUSE_INIT: {
      fuse_init_out out{};
      out.major = FUSE_KERNEL_VERSION;
      out.minor = 31;  // a kernel since 5.4
      out.max_write = 4096;
      *body = bytes_of(out);
      return true;
    }
    case FUSE_LOOKUP: {
      fuse_entry_out out{};
      out.nodeid = kFile;
      out.attr = attributes(kFile);
      *body = bytes_of(out);
      return true;
    }
    case FUSE_GETATTR: {
      fuse_attr_out out{};
      out.attr = attributes(in.nodeid);
      *body = bytes_of(out);
      return true;
    }
    case FUSE_OPEN:
    case FUSE_OPENDIR: *body = bytes_of(fuse_open_out{}); return true;
    case FUSE_FLUSH:  // not ENOSYS: the kernel would never ask again
    case FUSE_RELEASE: return true;
    default: *error = ENOSYS; return true;
  }
}

}  // namespace mrlease::test
