// SPDX-License-Identifier: Apache-2.0
#include "tests/support/wire_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace mrlease::test {

using std::chrono::steady_clock;

WireClient::WireClient(const std::string& socket_path, bool hello) {
  socket_ = wire::Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket_path.c_str(), sizeof address.sun_path - 1);
  if (::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("connect " + socket_path + ": " + std::strerror(errno));
  if (!hello) return;
  wire::Frame f;
  f.mutable_hello()->set_version_min(wire::kVersionMin);
  f.mutable_hello()->set_version_max(wire::kVersionMax);
  f.mutable_hello()->set_program("wire_client");
  const Message answer = call(std::move(f));
  if (!answer.frame.has_welcome()) throw std::runtime_error("no welcome: " + answer.frame.status().message());
  welcome_ = answer.frame.welcome();
}

std::uint64_t WireClient::send(wire::Frame frame, const std::vector<int>& fds) {
  frame.set_id(next_id_++);
  int code;
  pollfd room{socket_.get(), POLLOUT, 0};
  do code = wire::send_packet(socket_.get(), wire::encode(frame), fds);
  while (code == EAGAIN && ::poll(&room, 1, 10000) > 0);
  if (code != 0) throw std::runtime_error(std::string("send: ") + std::strerror(code));
  return frame.id();
}

std::optional<Message> WireClient::receive(steady_clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_clock::now()).count();
    pollfd p{socket_.get(), POLLIN, 0};
    if (::poll(&p, 1, left > 0 ? static_cast<int>(left) : 0) <= 0) return std::nullopt;
    wire::Packet packet;
    const int code = wire::recv_packet(socket_.get(), &packet);
    if (code == EAGAIN) continue;
    if (code != 0) return std::nullopt;
    Message m;
    std::string error;
    if (!wire::decode(packet.bytes, packet.fds.size(), &m.frame, &error)) throw std::runtime_error("bad frame: " + error);
    m.fds = std::move(packet.fds);
    return m;
  }
}

Message WireClient::call(wire::Frame frame, const std::vector<int>& fds) {
  const std::uint64_t id = send(std::move(frame), fds);
  const auto deadline = steady_clock::now() + std::chrono::seconds(20);
  while (auto m = receive(deadline)) {
    if (m->frame.reply_to() == id) return std::move(*m);
    kept_.push_back(std::move(*m));
  }
  throw std::runtime_error("no answer to request " + std::to_string(id));
}

std::optional<Message> WireClient::next(std::chrono::milliseconds timeout) {
  if (!kept_.empty()) {
    Message m = std::move(kept_.front());
    kept_.erase(kept_.begin());
    return m;
  }
  return receive(steady_clock::now() + timeout);
}

Message WireClient::recall(std::chrono::milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  while (auto m = next(std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_clock::now()))) {
    if (m->frame.has_recall()) return std::move(*m);
    if (m->frame.has_notice()) notices.push_back(m->frame.notice());
  }
  throw std::runtime_error("no recall came");
}

void WireClient::hang_up() { ::shutdown(socket_.get(), SHUT_RDWR); }

void WireClient::comply(const wire::v1::Recall& recall, int code) {
  wire::Frame f;
  f.mutable_recall_done()->set_recall(recall.recall());
  f.mutable_recall_done()->set_code(code);
  send(std::move(f));
}

wire::Frame to_register(wire::v1::Backing backing, std::uint64_t offset, std::uint64_t length, bool write, bool share) {
  wire::Frame f;
  auto* r = f.mutable_register_();
  r->mutable_range()->set_offset(offset);
  r->mutable_range()->set_length(length);
  r->set_backing(backing);
  r->set_write(write);
  r->set_share(share);
  return f;
}

Message WireClient::lease(int fd, wire::v1::Backing backing, std::uint64_t offset, std::uint64_t length, bool write, bool share) {
  Message answer = call(to_register(backing, offset, length, write, share), {fd});
  if (!answer.frame.has_granted()) throw std::runtime_error(answer.frame.status().message());
  return answer;
}

}  // namespace mrlease::test
