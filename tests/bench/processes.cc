// SPDX-License-Identifier: Apache-2.0
#include "processes.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace mrlease::bench {

void die(const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(2);
}

Process::~Process() {
  if (socket_ >= 0) ::close(socket_);
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Process::start(const std::function<void(int)>& body) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) die("socketpair");
  pid_ = ::fork();
  if (pid_ < 0) die("fork");
  if (pid_ == 0) {
    ::close(pair[0]);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    body(pair[1]);
    std::_Exit(0);
  }
  ::close(pair[1]);
  socket_ = pair[0];
}

void Process::tell(const void* bytes, std::size_t size) const { send(socket_, bytes, size); }

void Process::hear(void* bytes, std::size_t size) const {
  pollfd p{socket_, POLLIN, 0};
  if (::poll(&p, 1, 20000) != 1) {
    errno = ETIMEDOUT;
    die("a helper process does not answer");
  }
  if (::recv(socket_, bytes, size, 0) != static_cast<ssize_t>(size)) die("a helper process has ended");
}

char Process::ask(char question) const {
  char answer = 0;
  tell(&question, 1);
  hear(&answer, 1);
  return answer;
}

void send(int socket, const void* bytes, std::size_t size) {
  if (::send(socket, bytes, size, MSG_NOSIGNAL) != static_cast<ssize_t>(size)) die("send");
}

void receive(int socket, void* bytes, std::size_t size) {
  ssize_t n;
  do n = ::recv(socket, bytes, size, 0);
  while (n < 0 && errno == EINTR);
  if (n != static_cast<ssize_t>(size)) std::_Exit(0);
}

void become(uid_t user) {
  if (::setgroups(0, nullptr) != 0 || ::setgid(user) != 0 || ::setuid(user) != 0) die("become uid " + std::to_string(user));
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // setuid() has cleared it
}

namespace {

using Clock = std::chrono::steady_clock;

double ns_since(Clock::time_point begin) { return std::chrono::duration<double, std::nano>(Clock::now() - begin).count(); }

}  // namespace

double Foreign::cut(const char* path) {
  const auto begin = Clock::now();
  if (::truncate(path, kCutSize) != 0) die(std::string("truncate ") + path);
  return ns_since(begin);
}

double Foreign::read_page(const char* path) {
  char page[4096];
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) die(std::string("open ") + path);
  const auto begin = Clock::now();
  if (::pread(fd, page, sizeof page, 0) != static_cast<ssize_t>(sizeof page)) die(std::string("read ") + path);
  const double ns = ns_since(begin);
  ::close(fd);
  return ns;
}

Foreign::Foreign(Operation operation) {
  process_.start([operation](int socket) {
    become_nobody();
    for (;;) {
      char path[512];
      receive(socket, path, sizeof path);
      const double ns = operation(path);
      send(socket, &ns, sizeof ns);
    }
  });
}

double Foreign::perform(const std::string& path) const {
  char packet[512] = {};
  path.copy(packet, sizeof packet - 1);
  process_.tell(packet, sizeof packet);
  double ns = 0;
  process_.hear(&ns, sizeof ns);
  return ns;
}

int make_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0 || ::fchmod(fd, 0666) != 0) die("create " + path);
  refill(fd);
  return fd;
}

bool is_whole(int fd) {
  struct stat s;
  if (::fstat(fd, &s) != 0) die("fstat");
  return s.st_size == static_cast<off_t>(kFileSize);
}

void refill(int fd) {
  if (is_whole(fd)) return;
  static const std::vector<char> data(kFileSize - kCutSize, 'd');
  static const std::vector<char> head(kCutSize, 'h');
  struct stat s;
  if (::fstat(fd, &s) != 0) die("fstat");
  if (s.st_size == 0 && ::pwrite(fd, head.data(), head.size(), 0) != static_cast<ssize_t>(head.size())) die("write");
  if (::pwrite(fd, data.data(), data.size(), kCutSize) != static_cast<ssize_t>(data.size())) die("write");
}

}  // namespace mrlease::bench
