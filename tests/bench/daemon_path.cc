// SPDX-License-Identifier: Apache-2.0
#include "daemon_path.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <utility>

#include "processes.h"
#include "proto/fd_passing.h"
#include "proto/framing.h"

namespace mrlease::bench {
namespace {

namespace v1 = wire::v1;
using wire::Frame;

}  // namespace

void start_daemon(Process* process, const std::string& daemon, const std::string& dir, const std::string& socket) {
  process->start([&](int) {
    if (::access(daemon.c_str(), X_OK) != 0) die("start " + daemon);
    // Its log costs what it costs, but five hundred lines of it would hide the table.
    const int log = ::open((dir + "/mrleased.log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (log < 0 || ::dup2(log, STDERR_FILENO) < 0) die("open the daemon's log");
    ::execl(daemon.c_str(), daemon.c_str(), "--foreground", "--socket", socket.c_str(), "--root", dir.c_str(),
            static_cast<char*>(nullptr));
    die("start " + daemon);
  });
}

int connect_daemon(const std::string& path) {
  sockaddr_un address{AF_UNIX, {}};
  if (path.size() >= sizeof address.sun_path) die("the socket's path is too long: choose a shorter --dir");
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (;;) {
    const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
    const bool starting = errno == ENOENT || errno == ECONNREFUSED;
    if (!starting || std::chrono::steady_clock::now() > until) die("connect to mrleased at " + path);
    ::close(fd);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

namespace {

class Client {
 public:
  Client(int daemon, int control) : daemon_(daemon), control_(control) {}

  void say_hello() {
    Frame hello;
    hello.mutable_hello()->set_version_min(wire::kVersionMin);
    hello.mutable_hello()->set_version_max(wire::kVersionMax);
    hello.mutable_hello()->set_program("bench");
    if (!request(&hello, {}).has_welcome()) die("mrleased refuses Hello");
  }
  void take_lease(int file, v1::Backing backing) {
    Frame frame;
    v1::Register* r = frame.mutable_register_();
    r->mutable_range()->set_length(kFileSize);
    r->set_write(true);
    r->set_backing(backing);
    r->set_preserve_orphans(backing == v1::BACKING_ODP_TRANSPARENT);
    r->set_peer_budget_ms(200);
    const Frame answer = request(&frame, {file});
    if (!answer.has_granted()) die("mrleased refuses the lease: " + answer.status().message());
    if (answer.granted().guard() != v1::GUARD_PRECONTENT) die("not held by precontent: " + answer.granted().coverage());
    lease_ = answer.granted().lease();
  }
  // Recalls are answered at once; 's': answered when the last truncate is settled; 'e': extend.
  void serve() {
    for (;;) {
      pollfd p[2] = {{daemon_, POLLIN, 0}, {control_, POLLIN, 0}};
      if (::poll(p, 2, -1) < 0) continue;
      if (p[0].revents != 0) receive_one();
      if (p[1].revents != 0) obey();
      if (waiting_ && settled_) {
        waiting_ = settled_ = false;
        send(control_, "s", 1);
      }
    }
  }

 private:
  void post(Frame* frame, const std::vector<int>& fds) {
    frame->set_id(++last_id_);
    if (const int code = wire::send_packet(daemon_, wire::encode(*frame), fds); code != 0) {
      errno = code;
      die("send to mrleased");
    }
  }
  // The next frame that is not a recall; recalls are answered on the way.
  Frame next() {
    for (;;) {
      wire::Packet packet;
      const int code = wire::recv_packet(daemon_, &packet);
      if (code == EAGAIN) {
        pollfd p{daemon_, POLLIN, 0};
        ::poll(&p, 1, -1);
        continue;
      }
      errno = code;
      if (code != 0) die("mrleased has gone");
      Frame frame;
      std::string error;
      if (!wire::decode(packet.bytes, packet.fds.size(), &frame, &error)) die("from mrleased: " + error);
      if (!frame.has_recall()) return frame;
      comply(frame.recall());
      return frame;
    }
  }
  Frame request(Frame* frame, const std::vector<int>& fds) {
    post(frame, fds);
    const std::uint64_t id = last_id_;
    for (;;) {
      Frame answer = next();
      if (answer.reply_to() == id) return answer;
    }
  }
  void comply(const v1::Recall& recall) {
    Frame done;
    done.mutable_recall_done()->set_recall(recall.recall());
    post(&done, {});
    if (recall.action() == v1::ACTION_SETTLE) settled_ = true;
  }
  void receive_one() {
    const Frame frame = next();
    if (frame.has_notice() && frame.notice().kind() == v1::Notice::FENCED) die("fenced: " + frame.notice().message());
  }
  void obey() {
    char order;
    receive(control_, &order, 1);
    if (order == 's') {
      waiting_ = true;
      return;
    }
    Frame extend;
    extend.mutable_extend()->set_lease(lease_);
    const Frame answer = request(&extend, {});
    if (!answer.has_extended() || answer.extended().file_size() != kFileSize) {
      die("mrleased does not extend the lease: " + answer.status().message());
    }
    send(control_, "e", 1);
  }

  const int daemon_, control_;
  std::uint64_t last_id_ = 0, lease_ = 0;
  bool waiting_ = false, settled_ = false;
};

class Daemon : public Contestant {
 public:
  Daemon(std::string name, const std::string& daemon, const std::string& dir, v1::Backing backing)
      : name_(std::move(name)), path_(dir + "/leased"), fd_(make_file(path_)) {
    const std::string socket = dir + "/socket";
    start_daemon(&daemon_, daemon, dir, socket);
    client_.start([&](int control) {
      const int connection = connect_daemon(socket);
      become_nobody();
      const int file = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
      if (file < 0) die("open " + path_);
      Client client(connection, control);
      client.say_hello();
      client.take_lease(file, backing);
      send(control, "r", 1);
      client.serve();
    });
    char ready;
    client_.hear(&ready, 1);
  }
  ~Daemon() override { ::close(fd_); }
  std::string name() const override { return name_; }
  std::string path() const override { return path_; }
  void arm() override {
    if (is_whole(fd_)) return;
    client_.ask('s');
    refill(fd_);
    client_.ask('e');
  }

 private:
  const std::string name_, path_;
  const int fd_;
  Process daemon_, client_;
};

}  // namespace

std::unique_ptr<Contestant> make_daemon(const std::string& name, const std::string& daemon, const std::string& dir, Leased backing) {
  const std::string folder = dir + "/" + name;
  if (::mkdir(folder.c_str(), 0755) != 0) die("mkdir " + folder);
  return std::make_unique<Daemon>(name, daemon, folder, backing == Leased::Odp ? v1::BACKING_ODP_TRANSPARENT : v1::BACKING_BOUNCE);
}

}  // namespace mrlease::bench
