// SPDX-License-Identifier: Apache-2.0
#include "tests/support/service_manager.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <latch>
#include <sstream>
#include <stdexcept>

#include "tests/support/comes_true.h"

namespace mrlease::test {

namespace {

using std::chrono::milliseconds;

wire::Fd bind_socket(const std::string& path, int type) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  wire::Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("bind " + path + ": " + std::strerror(errno));
  ::chmod(path.c_str(), 0666);
  return fd;
}

// src/basic/fd-util.c of systemd: one open file is kept once, under its first name.
bool same_open_file(int a, int b) { return ::syscall(SYS_kcmp, ::getpid(), ::getpid(), KCMP_FILE, a, b) == 0; }

std::string value_of(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.rfind(key + "=", 0) == 0) return line.substr(key.size() + 1);
  return {};
}

}  // namespace

ServiceManager::ServiceManager(const TestDirectory& directory, std::vector<std::string> options) {
  const char* binary = std::getenv("MRLEASED");
  socket_ = directory.path("activated.sock");
  notify_path_ = directory.path("notify");
  log_path_ = directory.path("service.log");
  words_ = {binary != nullptr ? binary : MRLEASED_BINARY, "--foreground", "--socket", socket_, "--root", directory.path(),
            "--log-level", "debug"};
  words_.insert(words_.end(), options.begin(), options.end());
  listener_ = bind_socket(socket_, SOCK_SEQPACKET);
  ::listen(listener_.get(), 128);
  notify_ = bind_socket(notify_path_, SOCK_DGRAM);
  stop_ = wire::Fd(::eventfd(0, EFD_CLOEXEC));
  // Tests fork: under sanitizers a child of a process in which a thread begins just then may wait for their allocator for ever.
  std::latch begun(1);
  thread_ = std::thread([this, &begun] {
    begun.count_down();
    serve();
  });
  begun.wait();
}

ServiceManager::~ServiceManager() {
  if (pid_ > 0) kill(SIGKILL);
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(stop_.get(), &one, sizeof one);
  thread_.join();
  release();
}

void ServiceManager::serve() {
  for (;;) {
    pollfd fds[] = {{stop_.get(), POLLIN, 0}, {notify_.get(), POLLIN, 0}};
    ::poll(fds, 2, -1);
    if (fds[0].revents != 0) return;
    std::array<char, 4096> data;
    iovec part{data.data(), data.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(768 * sizeof(int))> control;  // NOTIFY_FD_MAX of systemd
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(notify_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0) continue;
    std::vector<wire::Fd> passed;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_type != SCM_RIGHTS) continue;
      const auto* numbers = reinterpret_cast<const int*>(CMSG_DATA(c));
      for (std::size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) passed.emplace_back(numbers[i]);
    }
    take(std::string(data.data(), static_cast<std::size_t>(n)), std::move(passed));
  }
}

void ServiceManager::take(std::string text, std::vector<wire::Fd> fds) {
  std::lock_guard lock(mutex_);
  const std::string name = value_of(text, "FDNAME");
  if (value_of(text, "FDSTOREREMOVE") == "1")
    std::erase_if(kept_, [&](auto& each) {
      if (each.first == name) std::thread([n = each.second.release()] { ::close(n); }).detach();  // as in release()
      return each.first == name;
    });
  if (value_of(text, "FDSTORE") == "1")
    for (wire::Fd& fd : fds) {
      const bool there = std::any_of(kept_.begin(), kept_.end(), [&](const auto& each) { return same_open_file(each.second.get(), fd.get()); });
      if (!there) kept_.emplace_back(name, std::move(fd));
    }
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) lines_[line]++;
  changed_.notify_all();
}

void ServiceManager::exec(const std::vector<int>& fds, const std::string& names) const {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int log = ::open(log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  ::dup2(log, 2);
  // Out of the way of the numbers that they are to have.
  std::vector<int> high;
  const int above = 3 + static_cast<int>(fds.size());
  for (const int fd : fds) high.push_back(::fcntl(fd, F_DUPFD_CLOEXEC, std::max(above, 256)));
  for (std::size_t i = 0; i < high.size(); i++) ::dup2(high[i], 3 + static_cast<int>(i));
  ::setenv("NOTIFY_SOCKET", notify_path_.c_str(), 1);
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  ::setenv("LISTEN_FDS", std::to_string(fds.size()).c_str(), 1);
  ::setenv("LISTEN_FDNAMES", names.c_str(), 1);
  for (const auto& [key, value] : environment)
    ::setenv(key.c_str(), value == "$PID" ? std::to_string(::getpid()).c_str() : value.c_str(), 1);
  std::vector<char*> argv;
  for (const auto& w : words_) argv.push_back(const_cast<char*>(w.c_str()));
  argv.push_back(nullptr);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

void ServiceManager::start() {
  std::vector<int> fds;
  std::string all;
  {
    std::lock_guard lock(mutex_);
    lines_.clear();
    if (activate) fds.push_back(listener_.get());
    if (activate) all = "mrleased.socket";
    for (const auto& [name, fd] : kept_) {
      fds.push_back(fd.get());
      all += (all.empty() ? "" : ":") + name;
    }
    pid_ = ::fork();
    if (pid_ == 0) exec(fds, all);
  }
  if (!wait_for("READY=1", 0, std::chrono::seconds(20))) throw std::runtime_error("mrleased is not ready: " + log());
}

void ServiceManager::signal(int number) { ::kill(pid_, number); }

void ServiceManager::kill(int number) {
  ::kill(pid_, number);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
  // What it has said before its end counts: systemd reads that before it looks for children that have ended.
  static std::atomic<int> barriers{0};
  const std::string barrier = "X_BARRIER=" + std::to_string(++barriers);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, notify_path_.c_str(), sizeof address.sun_path - 1);
  const wire::Fd from(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ::sendto(from.get(), barrier.data(), barrier.size(), 0, reinterpret_cast<sockaddr*>(&address), sizeof address);
  wait_for(barrier);
}

// Each in a thread of its own, as systemd does (asynchronous_close()): the close of a fanotify group waits for tasks that
// another of the groups holds.
void ServiceManager::release() {
  std::vector<std::thread> closing;
  {
    std::lock_guard lock(mutex_);
    for (auto& [name, fd] : kept_) closing.emplace_back([n = fd.release()] { ::close(n); });
    kept_.clear();
  }
  for (auto& thread : closing) thread.join();
}

std::string ServiceManager::log() const {
  std::ifstream in(log_path_);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

bool ServiceManager::says(const std::string& text) const {
  return comes_true([&] { return log().find(text) != std::string::npos; });
}

int ServiceManager::count(const std::string& line) {
  std::lock_guard lock(mutex_);
  return lines_[line];
}

bool ServiceManager::wait_for(const std::string& line, int seen, milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout, [&] { return lines_[line] > seen; });
}

std::vector<std::string> ServiceManager::names() {
  std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [name, fd] : kept_) out.push_back(name);
  std::sort(out.begin(), out.end());
  return out;
}

int ServiceManager::kept(const std::string& name) {
  std::lock_guard lock(mutex_);
  for (const auto& [each, fd] : kept_)
    if (each == name) return fd.get();
  return -1;
}

bool ServiceManager::wait_for_names(std::size_t count, milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout, [&] { return kept_.size() == count; });
}

}  // namespace mrlease::test
