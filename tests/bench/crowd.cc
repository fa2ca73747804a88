// SPDX-License-Identifier: Apache-2.0
#include "crowd.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <functional>

#include "tests/support/wire_client.h"

namespace mrlease::bench {
namespace {

namespace v1 = wire::v1;

// As large as a recall's frame is.
constexpr std::size_t kMessage = 48;

// Connections, after which a process says that it gets on: nobody waits for it longer than Process does.
constexpr int kReport = 10;

double now_ns() {
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Of what can be read, one after the other, for ever; `data` is what the descriptor was added with.
class Readable {
 public:
  Readable() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (epoll_ < 0) die("epoll_create1");
  }
  void add(int fd, std::uint64_t data) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = data;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
  }
  // Calls each(data) for those that are readable now, or first after now.
  void wait(const std::function<void(std::uint64_t)>& each) {
    epoll_event events[64];
    const int n = ::epoll_wait(epoll_, events, 64, -1);
    for (int i = 0; i < n; i++) each(events[i].data.u64);
  }

 private:
  const int epoll_;
};

constexpr std::uint64_t kControl = ~0ull;

// Counts the connections that have got their message; tells when the last one has.
class Roll {
 public:
  explicit Roll(int control) : control_(control) {}
  void asked() {
    if (++asked_ < kEach) return;
    asked_ = 0;
    const double now = now_ns();
    send(control_, &now, sizeof now);
  }

 private:
  const int control_;
  int asked_ = 0;
};

void be_clients(int control, int first, const std::string& socket, const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) die("open " + path);
  Readable readable;
  readable.add(control, kControl);
  std::vector<std::unique_ptr<test::WireClient>> clients;
  std::vector<std::uint64_t> leases;
  for (int i = 0; i < kEach; i++) {
    clients.push_back(std::make_unique<test::WireClient>(socket));
    const std::uint64_t offset = static_cast<std::uint64_t>(first + i) * kBytesEach;
    leases.push_back(clients.back()->lease(file, v1::BACKING_DIRECT, offset, kBytesEach, true, true).frame.granted().lease());
    readable.add(clients.back()->native_handle(), static_cast<std::uint64_t>(i));
    if ((i + 1) % kReport == 0) send(control, "r", 1);
  }
  Roll quiesced(control), back(control);
  const auto serve = [&](test::WireClient& client) {
    while (const auto message = client.next(std::chrono::milliseconds(0))) {
      const wire::Frame& frame = message->frame;
      if (frame.has_notice() && frame.notice().kind() == v1::Notice::FENCED) die("fenced: " + frame.notice().message());
      if (!frame.has_recall()) continue;
      client.comply(frame.recall());
      frame.recall().action() == v1::ACTION_QUIESCE ? quiesced.asked() : back.asked();
    }
  };
  for (;;) {
    readable.wait([&](std::uint64_t which) {
      if (which != kControl) return serve(*clients[which]);
      char order;
      receive(control, &order, 1);
      for (std::size_t i = 0; i < clients.size(); i++) {
        wire::Frame frame;
        frame.mutable_extend()->set_lease(leases[i]);
        const test::Message answer = clients[i]->call(std::move(frame));
        if (!answer.frame.has_extended() || answer.frame.extended().file_size() != kConnections * kBytesEach)
          die("mrleased does not extend a lease: " + answer.frame.status().message());
      }
      send(control, "e", 1);
    });
  }
}

int connect_to(const std::string& path) {
  sockaddr_un address{AF_UNIX, {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die("connect to " + path);
  return fd;
}

void be_echoes(int control, const std::string& socket) {
  Readable readable;
  for (int i = 0; i < kEach; i++) {
    const int fd = connect_to(socket);
    readable.add(fd, static_cast<std::uint64_t>(fd));
    if ((i + 1) % kReport == 0) send(control, "r", 1);
  }
  Roll roll(control);
  char message[kMessage];
  for (;;) {
    readable.wait([&](std::uint64_t fd) {
      receive(static_cast<int>(fd), message, sizeof message);
      send(static_cast<int>(fd), message, sizeof message);
      roll.asked();
    });
  }
}

void be_echo_server(int control, const std::string& path) {
  sockaddr_un address{AF_UNIX, {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int listener = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::chmod(path.c_str(), 0666) != 0 ||
      ::listen(listener, 128) != 0)
    die("listen on " + path);
  send(control, "l", 1);
  Readable readable;
  std::vector<int> all;
  while (all.size() < kConnections) {
    all.push_back(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (all.back() < 0) die("accept");
    readable.add(all.back(), static_cast<std::uint64_t>(all.back()));
  }
  send(control, "a", 1);
  char message[kMessage] = {};
  for (;;) {
    char order;
    receive(control, &order, 1);
    double times[2] = {now_ns(), 0};
    int answered = 0;
    for (const int fd : all) send(fd, message, sizeof message);
    while (answered < kConnections) {
      readable.wait([&](std::uint64_t fd) {
        receive(static_cast<int>(fd), message, sizeof message);
        answered++;
      });
    }
    times[1] = now_ns();
    send(control, times, sizeof times);
  }
}

int make_pages(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0 || ::fchmod(fd, 0666) != 0 || ::ftruncate(fd, kConnections * kBytesEach) != 0) die("create " + path);
  return fd;
}

}  // namespace

Crowd::Crowd(const std::function<void(int control, int first)>& be) {
  const double begin = now_ns();
  for (int i = 0; i < kUsers; i++) {
    processes_.push_back(std::make_unique<Process>());
    processes_.back()->start([&, i](int control) {
      become(kNobody - 1 - static_cast<uid_t>(i));
      try {
        be(control, i * kEach);
      } catch (const std::exception& e) {
        die(std::string("a client: ") + e.what());
      }
    });
  }
  char ready;
  for (const auto& process : processes_)
    for (int i = 0; i < kEach; i += kReport) process->hear(&ready, 1);
  connected_in_ = (now_ns() - begin) / 1e6;
}

Crowd Crowd::of_daemon(const std::string& socket, const std::string& file) {
  return Crowd([&](int control, int first) { be_clients(control, first, socket, file); });
}

Crowd Crowd::of_echo(const std::string& socket) {
  return Crowd([&](int control, int) { be_echoes(control, socket); });
}

double Crowd::last_asked() {
  double last = 0;
  for (const auto& process : processes_) {
    double at;
    process->hear(&at, sizeof at);
    last = std::max(last, at);
  }
  return last;
}

void Crowd::extend() {
  for (const auto& process : processes_) process->tell("e", 1);
  char done;
  for (const auto& process : processes_) process->hear(&done, 1);
}

EchoServer::EchoServer(const std::string& socket) {
  process_.start([&](int control) { be_echo_server(control, socket); });
  char listens;
  process_.hear(&listens, 1);
}

void EchoServer::accept_all() {
  char accepted;
  process_.hear(&accepted, 1);
}

Round EchoServer::ask_all(Crowd& crowd) {
  process_.tell("a", 1);
  const double asked = crowd.last_asked();
  double times[2];
  process_.hear(times, sizeof times);
  return {(asked - times[0]) / 1e6, (times[1] - times[0]) / 1e6};
}

TruncatedFile::TruncatedFile(const std::string& path) : path_(path), fd_(make_pages(path)) {
  foreign_.start([&](int control) {
    become_nobody();
    for (;;) {
      char order;
      receive(control, &order, 1);
      double times[2] = {now_ns(), 0};
      if (::truncate(path.c_str(), 0) != 0) die("truncate " + path);
      times[1] = now_ns();
      send(control, times, sizeof times);
    }
  });
}

TruncatedFile::~TruncatedFile() { ::close(fd_); }

Round TruncatedFile::cut(Crowd& crowd, double* back_in) {
  foreign_.tell("t", 1);
  const double asked = crowd.last_asked(), back = crowd.last_asked();
  double times[2];
  foreign_.hear(times, sizeof times);
  *back_in = (back - times[1]) / 1e6;
  if (::ftruncate(fd_, kConnections * kBytesEach) != 0) die("make the file longer");
  crowd.extend();
  return {(asked - times[0]) / 1e6, (times[1] - times[0]) / 1e6};
}

}  // namespace mrlease::bench
