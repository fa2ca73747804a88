// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/connection/connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <asio/generic/seq_packet_protocol.hpp>
#include <asio/io_context.hpp>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "client-lib/src/protocol/frames.h"

namespace mrlease::client {
namespace {
using Socket = asio::generic::seq_packet_protocol::socket;

struct Waiter {
  bool done = false;
  bool sent = false;  // under send_mutex
  Outcome failed;
  Reply reply;
  std::function<void(const wire::Frame&)> on_reply;
};
}  // namespace

struct Connection::Impl {
  asio::io_context io{1};
  Socket socket{io};
  int fd = -1;
  Sinks sinks;
  std::thread thread;
  std::mutex send_mutex;  // keeps the order of frames while one waits for room
  mutable std::mutex mutex;
  std::condition_variable answered;
  std::map<std::uint64_t, std::shared_ptr<Waiter>> waiters;
  std::uint64_t next_id = 1;
  bool alive = true;
  std::atomic<std::uint64_t> successors{0};
  std::atomic<std::chrono::steady_clock::time_point> took_over{std::chrono::steady_clock::now()};
  std::string why = "the connection was closed";

  void read_more();
  bool read_all(std::string* error);
  void take(wire::Packet packet, wire::Frame frame);
  void take_reply(wire::Packet& packet, wire::Frame& frame);
  void resume(const wire::v1::Resume& daemon);
  Outcome call_once(wire::Frame& request, const std::vector<int>& fds, Reply* reply,
                    const std::function<void(const wire::Frame&)>& on_reply);
  void lost(const std::string& reason, bool tell);
  Outcome send_now(const wire::Frame& frame, const std::vector<int>& fds, Waiter* waiter = nullptr);
};

constexpr int kConnectSeconds = 10;

Outcome Connection::connect(const std::string& path, wire::Fd* socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return {EINVAL, "the socket path must have 1 to " + std::to_string(sizeof address.sun_path - 1) +
                        " bytes, this has " + std::to_string(path.size())};
  }
  path.copy(address.sun_path, path.size());
  wire::Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return from_errno("socket");
  // A daemon that accepts nobody, with as many before us as the listener takes, must not hold us for ever (unix(7)).
  timeval bound{kConnectSeconds, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound);
  const int connected = ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  const int code = connected == 0 ? 0 : errno;
  bound = {};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound);
  if (code == EAGAIN) return {ETIMEDOUT, "connect to " + path + ": mrleased accepts nobody (systemctl status mrleased)"};
  if (code != 0) {
    const char* hint = code == EACCES ? "; ask for membership in the group that may use mrleased"
                                      : "; is mrleased running? (systemctl status mrleased)";
    return {code, "connect to " + path + ": " + std::strerror(code) + hint};
  }
  *socket = std::move(fd);
  return {};
}

Connection::Connection(wire::Fd socket, Sinks sinks) : impl_(std::make_unique<Impl>()) {
  impl_->sinks = std::move(sinks);
  impl_->fd = socket.get();
  impl_->socket.assign(asio::generic::seq_packet_protocol(AF_UNIX, 0), socket.release());
  impl_->read_more();
  impl_->thread = std::thread([impl = impl_.get()] { impl->io.run(); });
}

Connection::~Connection() { close(); }

void Connection::close() {
  impl_->lost("the connection was closed", false);
  impl_->io.stop();
  if (impl_->thread.joinable()) impl_->thread.join();
  asio::error_code ignored;
  std::lock_guard sending(impl_->send_mutex);
  impl_->socket.close(ignored);
}

bool Connection::alive() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->alive;
}

void Connection::Impl::read_more() {
  socket.async_wait(Socket::wait_read, [this](const asio::error_code& e) {
    if (e) return;
    std::string error;
    if (read_all(&error)) {
      read_more();
    } else {
      lost(error, true);
    }
  });
}

bool Connection::Impl::read_all(std::string* error) {
  for (;;) {
    wire::Packet packet;
    const int code = wire::recv_packet(fd, &packet);
    if (code == EAGAIN) return true;
    if (code != 0) {
      *error = code == ECONNRESET ? "mrleased has closed the connection" : std::string("recv: ") + std::strerror(code);
      return false;
    }
    wire::Frame frame;
    if (!wire::decode(packet.bytes, packet.fds.size(), &frame, error)) return false;
    take(std::move(packet), std::move(frame));
  }
}

void Connection::Impl::take(wire::Packet packet, wire::Frame frame) {
  if (frame.reply_to() != 0) {
    take_reply(packet, frame);
  } else if (frame.has_recall()) {
    sinks.recall(frame.recall(), packet.fds.empty() ? wire::Fd() : std::move(packet.fds[0]));
  } else if (frame.has_notice()) {
    sinks.notice(frame.notice());
  } else if (frame.has_resume()) {
    resume(frame.resume());
  }
}

// What the old daemon had taken and not answered, only we know. What is sent after this, the new one takes.
void Connection::Impl::resume(const wire::v1::Resume& daemon) {
  took_over = std::chrono::steady_clock::now();
  successors++;
  std::vector<std::uint64_t> waiting;
  {
    std::lock_guard sending(send_mutex);
    std::lock_guard lock(mutex);
    for (const auto& [id, waiter] : waiters)
      if (waiter->sent) waiting.push_back(id);
  }
  (void)send_now(protocol::resumed(waiting, daemon.start()), {});
  if (sinks.resumed) sinks.resumed(daemon.version());
}

void Connection::Impl::take_reply(wire::Packet& packet, wire::Frame& frame) {
  std::shared_ptr<Waiter> waiter;
  {
    std::lock_guard lock(mutex);
    auto found = waiters.find(frame.reply_to());
    if (found != waiters.end()) waiter = found->second;
  }
  if (!waiter) {  // the caller has given up: a lease that comes now belongs to nobody
    if (frame.has_granted()) (void)send_now(protocol::release(frame.granted().lease()), {});
    return;
  }
  if (waiter->on_reply) waiter->on_reply(frame);
  std::lock_guard lock(mutex);
  waiter->reply.frame = std::move(frame);
  waiter->reply.fds = std::move(packet.fds);
  waiter->done = true;
  waiters.erase(waiter->reply.frame.reply_to());
  answered.notify_all();
}

void Connection::Impl::lost(const std::string& reason, bool tell) {
  {
    std::lock_guard lock(mutex);
    if (!alive) return;
    alive = false;
    why = reason;
    for (auto& [id, waiter] : waiters) {
      waiter->done = true;
      waiter->failed = {ENOTCONN, reason};
    }
    waiters.clear();
    answered.notify_all();
  }
  // Ends a sender that waits for room, and tells the daemon at once.
  ::shutdown(fd, SHUT_RDWR);
  if (tell) sinks.closed(reason);
}

Outcome Connection::Impl::send_now(const wire::Frame& frame, const std::vector<int>& fds, Waiter* waiter) {
  const std::string bytes = wire::encode(frame);
  if (bytes.empty()) return {EMSGSIZE, "a frame larger than the wire allows"};
  const auto deadline = std::chrono::steady_clock::now() + kCallTimeout;
  std::lock_guard lock(send_mutex);
  if (!socket.is_open()) return {ENOTCONN, "the connection was closed"};
  for (;;) {
    const int code = wire::send_packet(fd, bytes, fds);
    if (code == 0) {
      if (waiter != nullptr) waiter->sent = true;
      return {};
    }
    if (code == EPIPE || code == ECONNRESET) return {ENOTCONN, "mrleased has closed the connection"};
    if (code != EAGAIN) return from_errno("send to mrleased", code);
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return {ETIMEDOUT, "mrleased does not read its socket"};
    pollfd room{fd, POLLOUT, 0};
    ::poll(&room, 1, static_cast<int>(left.count()));
  }
}

std::uint64_t Connection::successors() const { return impl_->successors; }
std::chrono::steady_clock::time_point Connection::took_over() const { return impl_->took_over; }

Outcome Connection::send(wire::Frame frame) {
  {
    std::lock_guard lock(impl_->mutex);
    if (!impl_->alive) return {ENOTCONN, impl_->why};
    frame.set_id(impl_->next_id++);
  }
  return impl_->send_now(frame, {});
}

Outcome Connection::call(wire::Frame request, const std::vector<int>& fds, wire::Frame::BodyCase wanted, Reply* reply,
                         std::function<void(const wire::Frame&)> on_reply) {
  for (;;) {
    Reply got;
    Outcome o = impl_->call_once(request, fds, &got, on_reply);
    if (!o.ok()) return o;
    // The daemon was replaced before it could answer; every request may be made twice.
    if (got.frame.has_status() && got.frame.status().code() == ERESTART) continue;
    o = protocol::expect(got.frame, wanted);
    if (reply != nullptr) *reply = std::move(got);
    return o;
  }
}

Outcome Connection::Impl::call_once(wire::Frame& request, const std::vector<int>& fds, Reply* reply,
                                    const std::function<void(const wire::Frame&)>& on_reply) {
  auto waiter = std::make_shared<Waiter>();
  waiter->on_reply = on_reply;
  std::uint64_t id;
  {
    std::lock_guard lock(mutex);
    if (!alive) return {ENOTCONN, why};
    id = next_id++;
    waiters[id] = waiter;
  }
  request.set_id(id);
  Outcome sent = send_now(request, fds, waiter.get());
  std::unique_lock lock(mutex);
  if (!sent.ok()) {
    waiters.erase(id);
    return sent;
  }
  if (!answered.wait_for(lock, kCallTimeout, [&] { return waiter->done; })) {
    waiters.erase(id);
    return {ETIMEDOUT, "mrleased has not answered for " + std::to_string(kCallTimeout.count() / 1000) + " s"};
  }
  if (!waiter->failed.ok()) return waiter->failed;
  *reply = std::move(waiter->reply);
  return {};
}

}  // namespace mrlease::client
