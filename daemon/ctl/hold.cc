// SPDX-License-Identifier: Apache-2.0
// The freeze is bound to a call (HoldFreeze): however we end, SIGKILL included, the call ends and the daemon thaws.
#include "daemon/ctl/hold.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>

#include "daemon/ctl/signals.h"
#include "daemon/ctl/stream.h"
#include "daemon/ctl/views.h"

namespace mrlease::ctl {
namespace {

// A command that does not end on its signal keeps others waiting no longer than this.
constexpr int kGraceMs = 2000;

class Hold {
 public:
  Hold(Program& p, const v1::FreezeRequest& request) : p_(p), request_(request) {}

  int run() {
    client_.emplace(p_.connect());
    auto context = client_->unbounded();
    grpc::ClientContext* c = context.get();
    stream_.emplace(std::move(context), client_->stub().HoldFreeze(c, request_));
    while (!status_) {
      pollfd fds[] = {{signals_.fd(), POLLIN, 0}, {stream_->fd(), POLLIN, 0}};
      const int ready = ::poll(fds, 2, signalled_ ? kGraceMs : -1);
      if (ready == 0) status_ = 128 + signalled_;  // it does not end
      if (fds[0].revents) on_signal(signals_.take());
      if (!status_ && fds[1].revents) on_stream();
    }
    thaw();
    return *status_;
  }

 private:
  void on_stream() {
    bool ended = false;
    const auto message = stream_->next(&ended);
    if (ended) return on_end();
    if (!message) return;
    if (message->has_holds()) on_hold(message->holds());
    if (message->over()) on_over(message->reason());
  }

  void on_hold(const v1::FreezeResponse& holds) {
    freeze_ = holds.freeze();
    holding_ = true;
    // A command's output is its own.
    (p_.has_command ? std::cerr : std::cout) << (p_.json ? to_json(holds, true) : view(holds)) << std::flush;
    if (p_.has_command) start();
  }

  void on_over(const std::string& reason) {
    holding_ = false;
    over_ = true;
    std::cerr << "mrleasectl: the freeze has ended: " << reason << "\n";
    if (child_ <= 0) status_ = kDeadline;
  }

  // The call has ended, and with it the freeze.
  void on_end() {
    holding_ = false;
    const grpc::Status status = stream_->status();
    stream_.reset();
    if (child_ > 0 && !over_) std::cerr << "mrleasectl: the freeze has ended: " << client_->failure(status).text << "\n";
    if (child_ > 0) return wait_for_child();
    if (!status.ok()) throw client_->failure(status);
    status_ = kDeadline;
  }

  // Nothing to listen to but signals.
  void wait_for_child() {
    over_ = true;
    while (!status_) {
      pollfd p{signals_.fd(), POLLIN, 0};
      if (::poll(&p, 1, signalled_ ? kGraceMs : -1) == 0) status_ = 128 + signalled_;
      if (p.revents) on_signal(signals_.take());
    }
  }

  void on_signal(int number) {
    if (number == SIGCHLD) return on_child();
    if (number == 0) return;
    if (child_ <= 0) {
      status_ = holding_ ? kDone : 128 + number;  // ^C is how a freeze without a command ends
      return;
    }
    signalled_ = number;
    ::kill(child_, number);
  }

  void on_child() {
    int how = 0;
    if (child_ <= 0 || ::waitpid(child_, &how, WNOHANG) != child_) return;
    child_ = 0;
    const int status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
    // What the command saw may have changed under it: its success is none.
    status_ = status == 0 && over_ ? static_cast<int>(kDeadline) : status;
  }

  void start() {
    std::vector<char*> argv;
    for (auto& word : p_.command) argv.push_back(word.data());
    argv.push_back(nullptr);
    const pid_t parent = ::getpid();
    child_ = ::fork();
    if (child_ < 0) throw Failed{kRefused, std::string("cannot start the command: ") + std::strerror(errno)};
    if (child_ > 0) return;
    // When we are killed the file is thawed: the command would work on a file that changes.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    ::pthread_sigmask(SIG_SETMASK, &signals_.before(), nullptr);
    ::signal(SIGPIPE, SIG_DFL);  // main() ignores it, which an exec would hand on
    ::execvp(argv[0], argv.data());
    const int error = errno;
    ::dprintf(2, "mrleasectl: cannot run %s: %s\n", argv[0], std::strerror(error));
    ::_exit(error == ENOENT ? 127 : 126);
  }

  // By name first: it returns when the leases have their file back. The end of the call would do it too, later.
  void thaw() {
    if (!holding_ || freeze_ == 0) return;
    v1::ThawRequest request;
    request.set_freeze(freeze_);
    try {
      const auto thawed = client_->call(&v1::Admin::Stub::Thaw, request);
      if (thawed.expired() && *status_ == 0) status_ = kDeadline;
    } catch (const Failed& e) {
      std::cerr << "mrleasectl: thaw: " << e.text << "\n";
      if (*status_ == 0) status_ = e.status;
    }
  }

  Program& p_;
  const v1::FreezeRequest& request_;
  Signals signals_{SIGINT, SIGTERM, SIGHUP, SIGCHLD};  // before gRPC's threads
  std::optional<Client> client_;
  std::optional<Stream<v1::HoldFreezeResponse>> stream_;
  std::uint64_t freeze_ = 0;
  bool holding_ = false, over_ = false;
  pid_t child_ = 0;
  int signalled_ = 0;
  std::optional<int> status_;
};

}  // namespace

int hold_freeze(Program& p, const v1::FreezeRequest& request) { return Hold(p, request).run(); }

}  // namespace mrlease::ctl
