// SPDX-License-Identifier: Apache-2.0
//
// The library in the application's own loop, here Asio's: no thread of the library calls back. Leases a whole file, registers
// it with the first RDMA device, makes it durable every second, and tells what happens to it until SIGINT or SIGTERM.
//   04_own_event_loop FILE [SOCKET]
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <asio.hpp>
#include <chrono>
#include <csignal>
#include <iostream>
#include <memory>
#include <mrlease/mrlease.hpp>
#include <stdexcept>

namespace {

constexpr int kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;

struct Device {
  ibv_device** list = ibv_get_device_list(nullptr);
  ibv_context* context = list && list[0] ? ibv_open_device(list[0]) : nullptr;
  ibv_pd* pd = context ? ibv_alloc_pd(context) : nullptr;
  Device() {
    if (!pd) throw std::runtime_error("no RDMA device: rdma link add rxe0 type rxe netdev eth0 makes one");
  }
  ~Device() {
    ibv_dealloc_pd(pd);
    ibv_close_device(context);
    ibv_free_device_list(list);
  }
};

class Application {
 public:
  Application(asio::io_context& loop, const std::string& path, const std::string& socket)
      : fd_(::open(path.c_str(), O_RDWR | O_CLOEXEC)),
        // true: the application dispatches. The callback runs within dispatch(), in this thread.
        mrlease_([this](const mrl_event& event) { return hear(event); }, socket, true),
        events_(loop, ::dup(mrlease_.fd())),
        timer_(loop) {
    struct stat about {};
    if (fd_ < 0 || ::fstat(fd_, &about)) throw std::system_error(errno, std::generic_category(), path);
    region_ = mrlease_.reg_file(device_.pd, fd_, 0, static_cast<std::size_t>(about.st_size), kAccess);
    std::cout << "leased " << region_.length() << " bytes, rkey " << region_.rkey() << ", backing "
              << mrl_backing_name(region_.info().backing) << std::endl;
    wait_for_events();
    wait_for_second();
  }
  ~Application() {
    region_ = {};  // before the device; what the peer wrote is in the file then
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  void wait_for_events() {
    events_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
      if (error) return;
      mrlease_.dispatch();
      wait_for_events();
    });
  }
  // A sync waits for the disk: an application with more to do than this one would not do it in its loop.
  void wait_for_second() {
    timer_.expires_after(std::chrono::seconds(1));
    timer_.async_wait([this](const asio::error_code& error) {
      if (error) return;
      region_.sync(0);
      std::cout << "durable" << std::endl;
      wait_for_second();
    });
  }
  // Nobody posts here, so that a RECALL has nothing to wait for. Else: stop the peer, return EINPROGRESS, and answer by
  // region_.complied(event.recall) when nothing is in flight.
  int hear(const mrl_event& event) {
    std::cout << (event.type == MRL_EVENT_RECALL     ? "RECALL"
                  : event.type == MRL_EVENT_RESTORED ? "RESTORED"
                  : event.type == MRL_EVENT_TRIMMED  ? "TRIMMED"
                                                     : "something else")
              << " size " << event.size << ": " << event.message << std::endl;
    return 0;
  }

  Device device_;
  int fd_;
  mrlease::Context mrlease_;
  mrlease::Region region_;
  asio::posix::stream_descriptor events_;
  asio::steady_timer timer_;
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) throw std::runtime_error("usage: 04_own_event_loop FILE [SOCKET]");
  asio::io_context loop;
  Application application(loop, argv[1], argc > 2 ? argv[2] : "");
  asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](const asio::error_code&, int) { loop.stop(); });
  loop.run();
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
