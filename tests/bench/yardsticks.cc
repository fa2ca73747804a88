// SPDX-License-Identifier: Apache-2.0
#include "yardsticks.h"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <utility>

#include "processes.h"
#include "proto/kernel_uapi.h"

namespace mrlease::bench {
namespace {

class Bare : public Contestant {
 public:
  explicit Bare(const std::string& dir) : path_(dir + "/bare"), fd_(make_file(path_)) {}
  ~Bare() override { ::close(fd_); }
  std::string name() const override { return "nobody holds it"; }
  std::string path() const override { return path_; }
  void arm() override { refill(fd_); }

 private:
  const std::string path_;
  const int fd_;
};

// What the guard asks of /proc before it can know what the operation is.
void read_syscall(int tid) {
  char path[64], text[256];
  std::snprintf(path, sizeof path, "/proc/%d/syscall", tid);
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || ::read(fd, text, sizeof text) <= 0) die("read /proc/<tid>/syscall");
  ::close(fd);
}

void round_trip(int client) {
  char byte = 'r';
  send(client, &byte, 1);
  receive(client, &byte, 1);
}

void compare_page(int memfd, int file) {
  char ours[4096], theirs[4096];
  if (::pread(memfd, ours, sizeof ours, 0) != sizeof ours || ::pread(file, theirs, sizeof theirs, 0) != sizeof theirs) die("compare a page");
  if (std::memcmp(ours, theirs, sizeof ours) != 0) die("the pages differ");
}

void allow(int fanotify, const fanotify_event_metadata& event) {
  const fanotify_response response{event.fd, FAN_ALLOW};
  if (::write(fanotify, &response, sizeof response) != static_cast<ssize_t>(sizeof response)) die("answer an event");
  ::close(event.fd);
}

using BeforeAllow = std::function<void(const fanotify_event_metadata&)>;

// `control` gets one byte when the mark stands.
void guard_body(int control, const std::string& path, const BeforeAllow& before) {
  const int fanotify =
      ::fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_REPORT_TID | FAN_UNLIMITED_QUEUE | FAN_CLOEXEC, O_RDONLY | O_LARGEFILE);
  if (fanotify < 0) die("fanotify_init (needs root)");
  if (::fanotify_mark(fanotify, FAN_MARK_ADD, FAN_PRE_ACCESS, AT_FDCWD, path.c_str()) != 0) {
    die("FAN_PRE_ACCESS on " + path + " (needs Linux 6.14 and ext4, xfs or btrfs)");
  }
  send(control, "m", 1);
  alignas(fanotify_event_metadata) char buffer[4096];
  for (;;) {
    ssize_t n = ::read(fanotify, buffer, sizeof buffer);
    if (n < 0 && errno != EINTR) die("read events");
    const auto* event = reinterpret_cast<const fanotify_event_metadata*>(buffer);
    for (; FAN_EVENT_OK(event, n); event = FAN_EVENT_NEXT(event, n)) {
      before(*event);
      allow(fanotify, *event);
    }
  }
}

// What a guard does before it allows; client: its end of a socket to a process that answers at once.
using Body = std::function<BeforeAllow(int client)>;

class Guarded : public Contestant {
 public:
  Guarded(std::string name, const std::string& path, const Body& body) : name_(std::move(name)), path_(path), fd_(make_file(path_)) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) die("socketpair");
    client_.start([&](int) {
      ::close(pair[0]);
      become_nobody();
      for (char byte;;) {
        receive(pair[1], &byte, 1);
        send(pair[1], &byte, 1);
      }
    });
    guard_.start([&](int control) {
      ::close(pair[1]);
      guard_body(control, path_, body(pair[0]));
    });
    ::close(pair[0]);
    ::close(pair[1]);
    char byte;
    guard_.hear(&byte, 1);
  }
  ~Guarded() override { ::close(fd_); }
  std::string name() const override { return name_; }
  std::string path() const override { return path_; }
  void arm() override { refill(fd_); }  // fd_ is older than the mark: its writes raise no events

 private:
  const std::string name_, path_;
  const int fd_;
  Process client_, guard_;
};

BeforeAllow chain(int client) {
  return [client](const fanotify_event_metadata& event) {
    read_syscall(event.pid);
    round_trip(client);
  };
}

BeforeAllow nothing(int) {
  return [](const fanotify_event_metadata&) {};
}

// Of the same content as the file that make_file() has made. file: opened before there is a mark.
BeforeAllow compare(int client, const std::string& path) {
  const int memfd = ::memfd_create("compared", MFD_CLOEXEC), file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (memfd < 0 || file < 0) die("memfd_create");
  refill(memfd);
  return [=](const fanotify_event_metadata&) {
    round_trip(client);
    compare_page(memfd, file);
  };
}

void lease_holder_body(int control, const std::string& path) {
  const int fd = make_file(path);  // the only open description of the file, or there is no lease
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGRTMIN);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  for (char byte;;) {
    receive(control, &byte, 1);
    refill(fd);
    if (::fcntl(fd, F_SETLEASE, F_WRLCK) != 0) die("F_SETLEASE");
    if (::fcntl(fd, F_SETSIG, SIGRTMIN) != 0) die("F_SETSIG");  // F_UNLCK has reset it
    send(control, &byte, 1);
    siginfo_t info;
    while (::sigwaitinfo(&set, &info) < 0 || info.si_fd != fd) {
    }
    if (::fcntl(fd, F_SETLEASE, F_UNLCK) != 0) die("F_SETLEASE, F_UNLCK");
  }
}

class LeaseHolder : public Contestant {
 public:
  explicit LeaseHolder(const std::string& dir) : path_(dir + "/lease") {
    holder_.start([this](int control) { lease_holder_body(control, path_); });
  }
  std::string name() const override { return "F_SETLEASE break"; }
  std::string path() const override { return path_; }
  void arm() override { holder_.ask('a'); }

 private:
  const std::string path_;
  Process holder_;
};

}  // namespace

std::unique_ptr<Contestant> make_bare(const std::string& dir) { return std::make_unique<Bare>(dir); }
std::unique_ptr<Contestant> make_chain(const std::string& dir) { return std::make_unique<Guarded>("minimal C chain", dir + "/chain", chain); }
std::unique_ptr<Contestant> make_responder(const std::string& dir) { return std::make_unique<Guarded>("bare responder", dir + "/responder", nothing); }
std::unique_ptr<Contestant> make_comparer(const std::string& dir) {
  const std::string path = dir + "/comparer";
  return std::make_unique<Guarded>("ask and compare", path, [path](int client) { return compare(client, path); });
}
std::unique_ptr<Contestant> make_lease_holder(const std::string& dir) { return std::make_unique<LeaseHolder>(dir); }

}  // namespace mrlease::bench
