// SPDX-License-Identifier: Apache-2.0
// The real daemon over a real file, with a client that speaks the wire by hand.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <stdexcept>
#include <string>

#include "tests/support/daemon_process.h"
#include "tests/support/wire_client.h"

namespace mrlease::test {

namespace v1 = wire::v1;
inline constexpr std::size_t kSize = 16 * 4096;

// A client that comes back with its lease of the whole file, and has not told of its memory regions yet. Was it granted?
inline bool comes_back(WireClient& client, int file) {
  wire::Frame f = to_register(v1::BACKING_ODP_TRANSPARENT, 0, kSize, false);
  f.mutable_register_()->set_reclaim(true);
  f.mutable_register_()->set_on_file_end(kSize);
  return client.call(std::move(f), {file}).frame.has_granted();
}

// Refused with ENOENT, and nothing comes of it.
inline wire::Frame nonsense() {
  wire::Frame f;
  f.mutable_release()->set_lease(1000000);
  return f;
}

// Waits for room for it. False: the daemon has hung up.
inline bool send_when_there_is_room(WireClient& client, const wire::Frame& frame) {
  for (;;) {
    pollfd room{client.native_handle(), POLLOUT, 0};
    ::poll(&room, 1, -1);
    try {
      client.send(frame);
      return true;
    } catch (const std::runtime_error&) {  // no room after all
      if ((room.revents & POLLHUP) != 0) return false;
    }
  }
}

class DaemonTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    directory = std::make_unique<TestDirectory>();
  }
  // before: as DaemonProcess has it.
  void start(std::vector<std::string> options = {}, const std::function<void()>& before = {}) {
    daemon = std::make_unique<DaemonProcess>(*directory, std::move(options), before);
    path = directory->file("data", kSize);
    fd = wire::Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    client = std::make_unique<WireClient>(daemon->socket());
  }
  // Starts a second daemon with these options, which it must not like: what it says.
  std::string refused(std::vector<std::string> options) {
    try {
      DaemonProcess second(*directory, std::move(options));
    } catch (const std::runtime_error& e) {
      return e.what();
    }
    return "it started";
  }
  std::uint64_t size() const {
    struct stat st {};
    ::fstat(fd.get(), &st);
    return static_cast<std::uint64_t>(st.st_size);
  }
  char byte_at(off_t at) const {
    char c = 0;
    return ::pread(fd.get(), &c, 1, at) == 1 ? c : '?';
  }
  static v1::Status status(const Message& m) { return m.frame.status(); }
  Message release(std::uint64_t lease) {
    wire::Frame f;
    f.mutable_release()->set_lease(lease);
    return client->call(std::move(f));
  }
  // Truncates by path, as nobody, in a process of its own.
  std::unique_ptr<Child> truncate_by_other(off_t to) {
    return std::make_unique<Child>([p = path, to] { return ::truncate(p.c_str(), to) == 0 ? 0 : errno; });
  }

  std::unique_ptr<TestDirectory> directory;
  std::unique_ptr<DaemonProcess> daemon;
  std::unique_ptr<WireClient> client;
  std::string path;
  wire::Fd fd;
};

}  // namespace mrlease::test
