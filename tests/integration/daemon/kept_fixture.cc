// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/daemon/kept_fixture.h"

#include <stdexcept>

namespace mrlease::test {

namespace {

void make_pipe(wire::Fd* ends) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  ends[0] = wire::Fd(fds[0]);
  ends[1] = wire::Fd(fds[1]);
}

constexpr int kFenced = 200;

}  // namespace

ObedientClient::ObedientClient(const std::string& socket, const std::string& file, v1::Backing backing) {
  make_pipe(to_child_);
  make_pipe(from_child_);
  child_ = std::make_unique<Child>([=, this] { return run(socket, file, backing); });
}

void ObedientClient::answer(WireClient& client, const Message& m, Counts* counts) {
  if (m.frame.has_resume()) {
    counts->resumes++;
    wire::Frame f;
    f.mutable_resumed();
    client.send(std::move(f));
  }
  if (!m.frame.has_recall()) return;
  counts->recalls++;
  counts->settles += m.frame.recall().action() == v1::ACTION_SETTLE;
  client.comply(m.frame.recall());
}

int ObedientClient::run(const std::string& socket, const std::string& file, v1::Backing backing) {
  WireClient client(socket);
  const wire::Fd fd(::open(file.c_str(), O_RDWR | O_CLOEXEC));
  const std::uint64_t lease = client.lease(fd.get(), backing, 0, kSize).frame.granted().lease();
  if (::write(from_child_[1].get(), "G", 1) != 1) return 120;
  Counts counts;
  bool fenced = false;
  for (;;) {
    pollfd fds[] = {{client.native_handle(), POLLIN, 0}, {to_child_[0].get(), POLLIN, 0}};
    ::poll(fds, 2, -1);
    if (fds[0].revents != 0) {
      const auto m = client.next(std::chrono::milliseconds(0));
      if (!m) return 121;  // the connection has ended
      fenced = fenced || (m->frame.has_notice() && m->frame.notice().kind() == v1::Notice::FENCED);
      answer(client, *m, &counts);
      continue;
    }
    wire::Frame f;
    f.mutable_release()->set_lease(lease);
    const std::uint64_t id = client.send(std::move(f));
    for (;;) {  // recalls that are under way are answered: the lease ends after them
      const auto m = client.next();
      if (!m) return 122;
      answer(client, *m, &counts);
      if (m->frame.reply_to() != id) continue;
      if (::write(from_child_[1].get(), &counts, sizeof counts) != sizeof counts) return 123;
      return fenced ? kFenced : m->frame.status().code();
    }
  }
}

void ObedientClient::take(char expected) {
  char c = 0;
  pollfd p{from_child_[0].get(), POLLIN, 0};
  if (::poll(&p, 1, 20000) <= 0 || ::read(from_child_[0].get(), &c, 1) != 1 || c != expected)
    throw std::runtime_error("the client process does not answer");
}

int ObedientClient::release(Counts* counts) {
  Counts ignored;
  if (::write(to_child_[1].get(), "R", 1) != 1) return 124;
  pollfd p{from_child_[0].get(), POLLIN, 0};
  if (::poll(&p, 1, 20000) <= 0) return 125;
  if (::read(from_child_[0].get(), counts != nullptr ? counts : &ignored, sizeof ignored) != sizeof ignored) return child_->wait();
  return child_->wait();
}

}  // namespace mrlease::test
