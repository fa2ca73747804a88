// SPDX-License-Identifier: Apache-2.0
#include "daemon/loop/listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <system_error>

#include "daemon/sys/fail.h"
#include "daemon/sys/unix_socket.h"

namespace mrlease::loop {

namespace {

constexpr std::chrono::milliseconds kShortOf(100);

int open_socket(const std::string& path) {
  const auto address = sys::unix_address(path);
  if (!address) sys::fail(ENAMETOOLONG, "the socket's path is longer than 107 bytes: " + path);
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (std::filesystem::exists(path)) {
    if (!std::filesystem::is_socket(path)) sys::fail(EEXIST, path + " exists and is not a socket; choose another with --socket");
    if (sys::connect_to(*address, SOCK_SEQPACKET)) sys::fail(EADDRINUSE, "another mrleased serves " + path + "; stop it, or choose another with --socket");
    ::unlink(path.c_str());
  }
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) sys::fail(errno, "socket");
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    const int code = errno;
    ::close(fd);
    sys::fail(code, "cannot create the socket " + path);
  }
  // Anybody may connect: what a client may do is decided by the descriptors that it brings.
  ::chmod(path.c_str(), 0666);
  if (::listen(fd, 128) != 0) {
    const int code = errno;
    ::close(fd);
    sys::fail(code, "listen on " + path);
  }
  return fd;
}

int check_socket(sys::Fd fd) {
  int listens = 0, type = 0;
  socklen_t length = sizeof listens;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) != 0) sys::fail(errno, "the inherited socket");
  length = sizeof type;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &type, &length);
  if (listens == 0 || type != SOCK_SEQPACKET)
    sys::fail(EINVAL, "the inherited socket is of another kind; the socket unit needs ListenSequentialPacket=");
  ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  return fd.release();
}

}  // namespace

Listener::Listener(asio::io_context& loop, std::string path, OnClient on_client, sys::Fd inherited)
    : loop_(loop),
      own_(!inherited),
      path_(std::move(path)),
      on_client_(std::move(on_client)),
      socket_(loop, own_ ? open_socket(path_) : check_socket(std::move(inherited))),
      short_of_(loop) {
  accept_next();
}

Listener::~Listener() { close(); }

void Listener::close() {
  if (!socket_.is_open()) return;
  socket_.close();
  short_of_.cancel();
  if (own_) ::unlink(path_.c_str());
}

void Listener::accept_next() {
  socket_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
    if (error) return;
    for (;;) {
      const int fd = ::accept4(socket_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
      if (fd < 0 && errno != EAGAIN) return accept_later();
      if (fd < 0) break;
      on_client_(session::Connection::Socket(loop_, asio::generic::seq_packet_protocol(AF_UNIX, 0), fd));
    }
    accept_next();
  });
}

// EMFILE, ENFILE, ENOBUFS, ENOMEM (accept(2)): who connects stays in the queue, and to wait for the socket would be over at once.
void Listener::accept_later() {
  short_of_.expires_after(kShortOf);
  short_of_.async_wait([this](const asio::error_code& error) {
    if (!error && socket_.is_open()) accept_next();
  });
}

}  // namespace mrlease::loop
