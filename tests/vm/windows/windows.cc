// SPDX-License-Identifier: Apache-2.0
// vm_windows FILE SOCKET BACKING: a leased file, of which its owner shows the first half to a remote peer by a memory window only.
// The peer, a process of its own, writes a page by the window's key. Lines on standard input:
//   write N  the peer writes page N by the key it was given last; "wrote STATUS", an ibv_wc_status
//   sync     "durable"
//   dereg    "refused" while the window is bound (EBUSY), and "deregistered" without it
// A direct region has to be deregistered when it is recalled, so its owner gives the window back then, and binds another after.
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <mrlease/mrlease.hpp>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <iostream>
#include <stdexcept>
#include <string>

#include "tests/vm/fence/verbs.h"
#include "tests/vm/load/backing_named.h"

namespace {

using mrlease::vm::Endpoint;
using mrlease::vm::Verbs;

constexpr int kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_MW_BIND;
constexpr std::uint64_t kPage = 4096;

// A line at once: the library's thread has things to say too.
void say(const std::string& line) { std::cout << line + "\n" << std::flush; }

struct Target {
  std::uint64_t address;
  std::uint32_t rkey;
};

template <class T>
void tell(int socket, const T& what) {
  if (::send(socket, &what, sizeof what, 0) != static_cast<ssize_t>(sizeof what)) throw std::system_error(errno, std::generic_category(), "send");
}
template <class T>
T hear(int socket) {
  T what;
  if (::recv(socket, &what, sizeof what, 0) != static_cast<ssize_t>(sizeof what)) throw std::runtime_error("the other side is gone");
  return what;
}

[[noreturn]] void be_peer(int socket) try {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Verbs verbs;
  tell(socket, verbs.endpoint());
  verbs.connect(hear<Endpoint>(socket));
  for (;;) {
    const auto target = hear<Target>(socket);
    tell(socket, verbs.write_page(0, target.address, target.rkey));
  }
} catch (const std::exception&) {
  std::_Exit(0);
}

// Memory windows of type 1, which every queue pair of the protection domain can use.
class Window {
 public:
  // The first `length` bytes, or what is registered of them.
  void bind(Verbs& verbs, ibv_mr* mr, std::uint64_t length) {
    if (mr == nullptr) throw std::runtime_error("there is no memory region");
    window_ = ibv_alloc_mw(verbs.pd, IBV_MW_TYPE_1);
    if (window_ == nullptr) throw std::system_error(errno, std::generic_category(), "ibv_alloc_mw");
    const auto address = reinterpret_cast<std::uint64_t>(mr->addr);
    if (const int status = verbs.bind(window_, mr, address, std::min<std::uint64_t>(length, mr->length)); status != IBV_WC_SUCCESS)
      throw std::runtime_error(std::string("bind: ") + ibv_wc_status_str(static_cast<ibv_wc_status>(status)));
    target_ = {address, window_->rkey};
  }
  void give_back() {
    if (window_ == nullptr) return;
    if (const int code = ibv_dealloc_mw(window_); code != 0) throw std::system_error(code, std::generic_category(), "ibv_dealloc_mw");
    window_ = nullptr;
  }
  const Target& target() const { return target_; }

 private:
  ibv_mw* window_ = nullptr;
  Target target_{};
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) throw std::runtime_error("usage: vm_windows FILE SOCKET BACKING");
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) throw std::system_error(errno, std::generic_category(), "socketpair");
  if (::fork() == 0) {  // before anything of verbs or of the library is there
    ::close(pair[0]);
    be_peer(pair[1]);
  }
  ::close(pair[1]);
  const int peer = pair[0], fd = ::open(argv[1], O_RDWR | O_CLOEXEC);
  struct stat about {};
  if (fd < 0 || ::fstat(fd, &about) != 0) throw std::system_error(errno, std::generic_category(), argv[1]);
  const auto size = static_cast<std::uint64_t>(about.st_size);
  Verbs verbs;
  verbs.connect(hear<Endpoint>(peer));
  tell(peer, verbs.endpoint());

  mrlease::RegOptions options;
  options.backing = mrlease::load::backing_named(argv[3]);
  options.accept_quirks = MRL_QUIRK_ODP_PAGE_ALIGNED;
  Window window;
  std::atomic<bool> restored{false};
  mrlease::Context context([&](const mrlease::Event& event) {
    if (event.type == MRL_EVENT_RECALL && options.backing == MRL_BACKING_DIRECT) window.give_back();
    if (event.type == MRL_EVENT_RESTORED) restored = true;
    say("event " + std::to_string(event.type) + " " + event.message);
    return 0;
  }, argv[2]);
  auto region = context.reg_file(verbs.pd, fd, 0, size, kAccess, options);
  window.bind(verbs, region.mr(), size / 2);
  say("bound");
  for (std::string line; std::getline(std::cin, line);) {
    if (line.rfind("write ", 0) == 0) {
      if (options.backing == MRL_BACKING_DIRECT && restored.exchange(false)) window.bind(verbs, region.mr(), size / 2);
      const Target& of = window.target();
      tell(peer, Target{of.address + std::stoull(line.substr(6)) * kPage, of.rkey});
      say("wrote " + std::to_string(hear<int>(peer)));
    } else if (line == "sync") {
      region.sync(0);
      say("durable");
    } else if (line == "dereg") {
      try {
        region.dereg();
        say("deregistered");
      } catch (const std::system_error& error) {
        if (error.code().value() != EBUSY) throw;
        say(std::string("refused ") + error.what());
      }
    } else if (line == "give back") {
      window.give_back();
      say("given");
    } else {
      throw std::runtime_error("what is " + line + "?");
    }
  }
  return 0;
} catch (const std::exception& error) {
  say(std::string("failed: ") + error.what());
  return 1;
}
