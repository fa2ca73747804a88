// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/stranger.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "tests/fuzz/fuzz.h"

namespace mrlease::fuzz {
namespace {

std::pair<wire::Fd, wire::Fd> pair_of_sockets() {
  int ends[2];
  must(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
  return {wire::Fd(ends[0]), wire::Fd(ends[1])};
}

// Of a process with threads: system calls only.
[[noreturn]] void serve(int control) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (char asked; ::read(control, &asked, 1) == 1;) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) break;
    if (wire::send_packet(control, "2", {ends[0], ends[1]}) != 0) break;
    ::close(ends[0]);
    ::close(ends[1]);
  }
  ::_exit(0);
}

}  // namespace

Stranger::~Stranger() { end(); }

void Stranger::end() {
  control_ = {};
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(std::exchange(pid_, 0), nullptr, 0);
}

void Stranger::begin() {
  end();
  auto [ours, theirs] = pair_of_sockets();
  pid_ = ::fork();
  must(pid_ >= 0, "fork");
  if (pid_ == 0) {
    ::close(ours.get());
    serve(theirs.get());
  }
  control_ = std::move(ours);
}

bool Stranger::ask(std::pair<wire::Fd, wire::Fd>* ends) {
  if (!control_ || ::send(control_.get(), "?", 1, MSG_NOSIGNAL) != 1) return false;
  pollfd answer{control_.get(), POLLIN, 0};
  wire::Packet packet;
  if (::poll(&answer, 1, -1) < 0 || wire::recv_packet(control_.get(), &packet) != 0 || packet.fds.size() != 2) return false;
  *ends = {std::move(packet.fds[0]), std::move(packet.fds[1])};
  return true;
}

std::pair<wire::Fd, wire::Fd> Stranger::connect() {
  std::pair<wire::Fd, wire::Fd> ends;
  while (!ask(&ends)) begin();
  return ends;
}

}  // namespace mrlease::fuzz
