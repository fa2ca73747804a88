// SPDX-License-Identifier: Apache-2.0
#include "daemon/loop/emergency.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "daemon/sys/fail.h"
#include "daemon/sys/unix_socket.h"

namespace mrlease::loop {
namespace {

sys::Fd listen_on(const std::string& path) {
  const auto address = sys::unix_address(path);
  if (!address) sys::fail(ENAMETOOLONG, "the socket's path is longer than 107 bytes: " + path);
  if (sys::connect_to(*address, SOCK_STREAM))
    sys::fail(EADDRINUSE, "another mrleased serves " + path + "; give this one's --socket another directory");
  ::unlink(path.c_str());
  sys::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) sys::fail(errno, "cannot create the socket " + path);
  ::chmod(path.c_str(), 0600);  // before listen(): nobody can connect yet
  if (::listen(fd.get(), 4) != 0) sys::fail(errno, "listen on " + path);
  return fd;
}

}  // namespace

Emergency::Emergency(const std::string& clients_socket, std::function<void()> disarm, std::function<void()> disarmed)
    : path_((std::filesystem::path(clients_socket).parent_path() / "disarm.sock").string()),
      disarm_(std::move(disarm)),
      disarmed_(std::move(disarmed)),
      socket_(listen_on(path_)),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      thread_([this] { run(); }) {}

Emergency::~Emergency() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(stop_.get(), &one, sizeof one);
  thread_.join();
  ::unlink(path_.c_str());
}

void Emergency::run() {
  ::pthread_setname_np(::pthread_self(), "mrl-emergency");
  for (;;) {
    pollfd fds[] = {{socket_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[1].revents) return;
    if (fds[0].revents) serve(sys::Fd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  }
}

void Emergency::serve(sys::Fd peer) {
  ucred who{};
  socklen_t length = sizeof who;
  if (!peer || ::getsockopt(peer.get(), SOL_SOCKET, SO_PEERCRED, &who, &length) != 0 || who.uid != 0) return;
  disarm_();
  const std::string answer = "disarmed: everything that was held goes on; leases are unprotected until mrleased is restarted\n";
  ::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  peer = sys::Fd();
  disarmed_();
}

}  // namespace mrlease::loop
