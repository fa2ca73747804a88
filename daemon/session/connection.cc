// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/connection.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "daemon/session/close_elsewhere.h"

namespace mrlease::session {

namespace {
// Frames taken from one client before the others get a turn.
constexpr int kBatch = 64;
// Descriptors of one user that wait to be closed. A packet brings 253 at most (SCM_MAX_FD).
constexpr std::size_t kUnclosedMax = 256;

uid_t user_of(int socket) {
  ucred who{};
  socklen_t length = sizeof who;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &length) == 0 ? who.uid : static_cast<uid_t>(-1);
}

// However a packet ends: what nobody has taken of it must not be closed here.
struct Leftovers {
  wire::Packet& packet;
  const uid_t user;
  ~Leftovers() { close_elsewhere(std::move(packet.fds), user); }
};
}  // namespace

Connection::Connection(Socket socket)
    : socket_(std::move(socket)), user_(user_of(socket_.native_handle())), pause_(socket_.get_executor()) {
  socket_.non_blocking(true);
}

void Connection::start(OnFrame on_frame, OnClosed on_closed, Patience patience) {
  on_frame_ = std::move(on_frame);
  on_closed_ = std::move(on_closed);
  patience_ = std::move(patience);
  wait_readable();
}

void Connection::wait_readable() {
  if (closed_) return;
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const asio::error_code& error) {
    if (self->closed_) return;
    if (error) return self->fail(error.message());
    self->read_some();
  });
}

void Connection::read_some() {
  for (int i = 0; i < kBatch && !closed_; i++) {
    if (const auto wait = patience_(); wait.count() > 0) return read_later(wait);
    // Before it is read: what is in the socket's queue is not among our descriptors.
    if (unclosed(user_) > kUnclosedMax) return fail("the user's descriptors cannot be closed: their file systems do not answer");
    wire::Packet packet;
    const Leftovers leftovers{packet, user_};
    const int code = wire::recv_packet(socket_.native_handle(), &packet);
    if (code == EAGAIN) break;
    if (code != 0) return fail(code == ECONNRESET ? "the client has closed" : std::strerror(code));
    wire::Frame frame;
    std::string error;
    if (!wire::decode(packet.bytes, packet.fds.size(), &frame, &error)) return fail("bad frame: " + error);
    on_frame_(std::move(frame), packet.fds);
  }
  wait_readable();
}

// What it sends meanwhile fills its socket, and then it waits itself.
void Connection::read_later(std::chrono::microseconds wait) {
  pause_.expires_after(wait);
  pause_.async_wait([self = shared_from_this()](const asio::error_code& error) {
    if (!error && !self->closed_) self->read_some();
  });
}

void Connection::send(const wire::Frame& frame, std::vector<fence::SharedFd> fds) {
  if (closed_) return;
  // A client that does not read is cut off rather than served from our memory without bound.
  if (out_.size() >= kQueueMax) return fail("the client does not read its messages");
  out_.push_back({wire::encode(frame), std::move(fds)});
  if (!waiting_write_) flush();
}

void Connection::flush() {
  while (!out_.empty() && !closed_) {
    std::vector<int> fds;
    for (const auto& fd : out_.front().fds) fds.push_back(fd.get());
    const int code = wire::send_packet(socket_.native_handle(), out_.front().bytes, fds);
    if (code == EAGAIN || code == ENOBUFS) {
      waiting_write_ = true;
      socket_.async_wait(Socket::wait_write, [self = shared_from_this()](const asio::error_code& error) {
        self->waiting_write_ = false;
        if (self->closed_) return;
        if (error) return self->fail(error.message());
        self->flush();
      });
      return;
    }
    if (code == EPIPE) return out_.clear();  // it is gone: what it has said before is read first, up to the end
    if (code != 0) return fail(std::strerror(code));
    out_.pop_front();
  }
}

void Connection::fail(std::string why) {
  if (closed_) return;
  // The socket stays open until close(): when its other end may learn of it is the broker's to say.
  closed_ = true;
  out_.clear();
  pause_.cancel();
  asio::error_code ignored;
  socket_.cancel(ignored);
  // From the loop, not from within a caller that holds the session.
  asio::post(socket_.get_executor(), [self = shared_from_this(), why = std::move(why)] {
    if (self->on_closed_) self->on_closed_(why);
    self->on_closed_ = nullptr;
    self->on_frame_ = nullptr;
  });
}

void Connection::close() {
  closed_ = true;
  out_.clear();
  pause_.cancel();
  asio::error_code ignored;
  socket_.close(ignored);
}

}  // namespace mrlease::session
