// SPDX-License-Identifier: Apache-2.0
#include "parties.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "proto/kernel_uapi.h"

#ifndef USERFAULTFD_IOC_NEW  // include/uapi/linux/userfaultfd.h, 6.1
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

namespace mrlease::vm {
namespace {

constexpr std::size_t kLength = 64 * 4096;
constexpr int kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;

void drop_privileges() {
  if (::setgroups(0, nullptr) != 0 || ::setgid(65534) != 0 || ::setuid(65534) != 0) die("become uid 65534");
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // after setuid(), which clears it
}

void send_answer(int socket, const Answer& answer, const std::vector<int>& fds = {}) {
  const std::string_view bytes(reinterpret_cast<const char*>(&answer), sizeof answer);
  if (wire::send_packet(socket, bytes, fds) != 0) std::_Exit(0);  // the test is over
}

Order receive_order(int socket) {
  pollfd p{socket, POLLIN, 0};
  wire::Packet packet;
  Order order;
  while (::poll(&p, 1, -1) < 0) {
  }
  if (wire::recv_packet(socket, &packet) != 0 || packet.bytes.size() != sizeof order) std::_Exit(0);
  std::memcpy(&order, packet.bytes.data(), sizeof order);
  return order;
}

char* map_memfd() {
  const int memfd = ::memfd_create("client", MFD_CLOEXEC);
  if (memfd < 0 || ::ftruncate(memfd, kLength) != 0) die("memfd");
  void* p = ::mmap(nullptr, kLength, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
  if (p == MAP_FAILED) die("mmap");
  return static_cast<char*>(p);
}

// Moves an empty, registered mapping over the region: from now on a device fault waits, for nobody answers.
int put_gate(char* region, int userfaultfd_device) {
  const int fd = ::ioctl(userfaultfd_device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) die("USERFAULTFD_IOC_NEW");
  uffdio_api api{UFFD_API, 0, 0};
  if (::ioctl(fd, UFFDIO_API, &api) != 0) die("UFFDIO_API");
  char* gate = map_memfd();
  uffdio_register request{{reinterpret_cast<std::uintptr_t>(gate), kLength}, UFFDIO_REGISTER_MODE_MISSING, 0};
  if (::ioctl(fd, UFFDIO_REGISTER, &request) != 0) die("UFFDIO_REGISTER");
  // Without UFFD_FEATURE_EVENT_REMAP a move would end the registration: ask for it anew at the new place.
  if (::mremap(gate, kLength, kLength, MREMAP_MAYMOVE | MREMAP_FIXED, region) != region) die("mremap");
  request.range.start = reinterpret_cast<std::uintptr_t>(region);
  if (::ioctl(fd, UFFDIO_REGISTER, &request) != 0) die("UFFDIO_REGISTER behind mremap");
  return fd;
}

Answer describe(const Verbs& verbs, const ibv_mr* mr) {
  Answer a{};
  a.handle = mr->handle;
  a.lkey = mr->lkey;
  a.rkey = mr->rkey;
  a.address = reinterpret_cast<std::uintptr_t>(mr->addr);
  a.length = mr->length;
  a.self = verbs.endpoint();
  return a;
}

[[noreturn]] void serve_client(int socket, Verbs* verbs, char* region, ibv_mr* mr) {
  ibv_cq* cq = nullptr;
  for (;;) {
    const Order order = receive_order(socket);
    Answer answer{};
    switch (order.kind) {
      case Order::Connect: verbs->connect(order.other); break;
      case Order::ReuseByMr: {
        // Another length, so that nothing but the handle is the same.
        if (ibv_dereg_mr(mr) != 0) die("ibv_dereg_mr");
        mr = verbs->register_memory(region, kLength / 2, kAccess);
        if (mr == nullptr) die("ibv_reg_mr");
        answer = describe(*verbs, mr);
        break;
      }
      case Order::ReuseByCq:
        if (ibv_dereg_mr(mr) != 0) die("ibv_dereg_mr");
        cq = ibv_create_cq(verbs->context, 4, nullptr, nullptr, 0);
        if (cq == nullptr) die("ibv_create_cq");
        answer.handle = cq->handle;
        break;
      case Order::CheckCq: answer.value = ibv_destroy_cq(cq); break;
      case Order::WritePage: answer.value = EINVAL; break;
    }
    send_answer(socket, answer);
  }
}

[[noreturn]] void client(int socket, Memory memory, int userfaultfd_device, bool with_child) {
  drop_privileges();
  Verbs verbs;
  char* region = map_memfd();
  const bool odp = memory == Memory::OdpGated;
  ibv_mr* mr = verbs.register_memory(region, kLength, kAccess | (odp ? IBV_ACCESS_ON_DEMAND : 0));
  if (mr == nullptr) {
    send_answer(socket, {.value = errno});
    std::_Exit(0);
  }
  std::vector<int> fds{verbs.context->cmd_fd};
  if (odp) fds.push_back(put_gate(region, userfaultfd_device));
  if (with_child && ::fork() == 0) {
    pollfd p{socket, 0, 0};  // until the test closes its end
    while (::poll(&p, 1, -1) < 0 || (p.revents & POLLHUP) == 0) {
    }
    std::_Exit(0);
  }
  send_answer(socket, describe(verbs, mr), fds);
  serve_client(socket, &verbs, region, mr);
}

[[noreturn]] void peer(int socket) {
  drop_privileges();
  Verbs verbs;
  send_answer(socket, {.self = verbs.endpoint()});
  for (;;) {
    const Order order = receive_order(socket);
    Answer answer{};
    if (order.kind == Order::Connect) verbs.connect(order.other);
    if (order.kind == Order::WritePage) {
      answer.value = verbs.write_page(static_cast<int>(order.qp), order.address, order.rkey);
    }
    send_answer(socket, answer);
  }
}

template <class Body>
void start(Party* party, Body body) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) die("socketpair");
  party->pid = ::fork();
  if (party->pid < 0) die("fork");
  if (party->pid == 0) {
    ::close(pair[0]);
    body(pair[1]);
  }
  ::close(pair[1]);
  party->socket = fence::SharedFd(pair[0]);
  party->pidfd = fence::SharedFd(static_cast<int>(::syscall(SYS_pidfd_open, party->pid, 0)));
  if (!party->pidfd) die("pidfd_open");
}

}  // namespace

Party::~Party() {
  if (pid < 0) return;
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

void Party::tell(const Order& order) {
  const std::string_view bytes(reinterpret_cast<const char*>(&order), sizeof order);
  if (wire::send_packet(socket.get(), bytes, {}) != 0) die("send an order");
}

Answer Party::hear(std::vector<fence::SharedFd>* fds) {
  Answer answer{.value = -2};
  wire::Packet packet;
  pollfd p{socket.get(), POLLIN, 0};
  if (::poll(&p, 1, 90000) != 1 || wire::recv_packet(socket.get(), &packet) != 0) return answer;
  if (packet.bytes.size() == sizeof answer) std::memcpy(&answer, packet.bytes.data(), sizeof answer);
  for (wire::Fd& fd : packet.fds) {
    if (fds != nullptr) fds->emplace_back(fd.release());
  }
  return answer;
}

Answer Party::ask(const Order& order) {
  tell(order);
  return hear();
}

bool Party::exited(int timeout_ms) const {
  pollfd p{pidfd.get(), POLLIN, 0};
  return ::poll(&p, 1, timeout_ms) == 1;
}

void Party::signal(int number) const {
  if (::kill(pid, number) != 0) die("kill");
}

Answer start_client(Party* party, Memory memory, int userfaultfd_device, bool with_child,
                    std::vector<fence::SharedFd>* fds) {
  start(party, [=](int socket) { client(socket, memory, userfaultfd_device, with_child); });
  return party->hear(fds);
}

Answer start_peer(Party* party) {
  start(party, [](int socket) { peer(socket); });
  return party->hear();
}

}  // namespace mrlease::vm
