// SPDX-License-Identifier: Apache-2.0
// disarm: for the day when the daemon is wedged and holds other people's system calls. Without gRPC, and without the
// daemon's loop: a thread of its own answers on a socket of its own (daemon/loop/emergency.h).
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>

#include "daemon/ctl/program.h"
#include "daemon/sys/unix_socket.h"

namespace mrlease::ctl {
namespace {

constexpr int kPatienceMs = 10000;

sys::Fd connect_to(const std::string& path) {
  const auto address = sys::unix_address(path);
  if (!address) throw Failed{kUsage, "the socket's path is longer than 107 bytes: " + path};
  if (sys::Fd fd = sys::connect_to(*address, SOCK_STREAM)) return fd;
  const std::string why = errno == EACCES ? "permission denied: run this as root" : "is mrleased running? systemctl status mrleased";
  throw Failed{kNoDaemon, "cannot connect to " + path + ": " + why};
}

int disarm(const std::string& path) {
  const sys::Fd fd = connect_to(path);
  std::string answer;
  char part[256];
  for (pollfd p{fd.get(), POLLIN, 0}; answer.find('\n') == std::string::npos;) {
    if (::poll(&p, 1, kPatienceMs) <= 0)
      throw Failed{kDeadline, "mrleased does not answer. Stopping it lets everything go, and leaves leases unprotected: systemctl kill -s KILL mrleased; systemctl stop mrleased"};
    const ssize_t n = ::read(fd.get(), part, sizeof part);
    if (n <= 0) throw Failed{kRefused, "mrleased has closed the connection: only root may disarm it"};
    answer.append(part, static_cast<std::size_t>(n));
  }
  std::cout << answer << std::flush;
  return answer.rfind("disarmed", 0) == 0 ? kDone : kRefused;
}

}  // namespace

void add_disarm_command(Program& p) {
  const auto path = std::make_shared<std::string>("/run/mrlease/disarm.sock");
  CLI::App* sub = p.add("disarm", "Emergency: let everything go that the daemon holds, also when it is wedged; nothing is protected until it is restarted",
                        [path] { return disarm(*path); });
  sub->add_option("--disarm-socket", *path, "Beside the clients' socket of the daemon")->type_name("PATH")->capture_default_str();
}

}  // namespace mrlease::ctl
