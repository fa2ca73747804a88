// SPDX-License-Identifier: Apache-2.0
// lease_holder SOCKET FILE BACKING(bounce|odp|direct): a client for tests in other languages. Becomes nobody, leases the whole
// file, says "lease N", and complies with every recall, each told on stdout as "recall ACTION". Reads commands on stdin:
//   write OFFSET TEXT   into its bounce pages, as a device would; says "written"
//   hang                answers no recall any more; says "hanging"
// The end of stdin ends it.
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <iostream>
#include <sstream>
#include <stdexcept>

#include "tests/support/daemon_process.h"
#include "tests/support/wire_client.h"

namespace {

using namespace mrlease;
using mrlease::test::kNobody;
namespace v1 = wire::v1;

v1::Backing backing_of(const std::string& word) {
  if (word == "bounce") return v1::BACKING_BOUNCE;
  if (word == "odp") return v1::BACKING_ODP_TRANSPARENT;
  if (word == "direct") return v1::BACKING_DIRECT;
  throw std::runtime_error("unknown backing " + word);
}

bool obey(const std::string& line, int memory, bool* hanging) {
  std::istringstream in(line);
  std::string verb, text;
  off_t offset = 0;
  in >> verb;
  if (verb == "hang") {
    *hanging = true;
    std::cout << "hanging" << std::endl;
  } else if (verb == "write" && in >> offset >> text) {
    if (::pwrite(memory, text.data(), text.size(), offset) != static_cast<ssize_t>(text.size())) throw std::runtime_error("pwrite");
    std::cout << "written" << std::endl;
  } else {
    return false;
  }
  return true;
}

int hold(char** argv) {
  const int file = ::open(argv[2], O_RDWR | O_CLOEXEC);
  struct stat st {};
  if (file < 0 || ::fstat(file, &st) != 0) throw std::runtime_error(std::string(argv[2]) + ": " + std::strerror(errno));
  test::WireClient client(argv[1]);
  auto granted = client.lease(file, backing_of(argv[3]), 0, static_cast<std::uint64_t>(st.st_size));
  std::cout << "lease " << granted.frame.granted().lease() << std::endl;
  const int memory = granted.fds.empty() ? -1 : granted.fds.front().get();
  for (bool hanging = false;;) {
    while (const auto message = client.next(std::chrono::milliseconds(0))) {
      if (!message->frame.has_recall() || hanging) continue;
      std::cout << "recall " << v1::Action_Name(message->frame.recall().action()) << std::endl;
      client.comply(message->frame.recall());
    }
    pollfd fds[] = {{0, POLLIN, 0}, {client.native_handle(), POLLIN, 0}};
    ::poll(fds, 2, -1);
    if (fds[1].revents & POLLHUP) return 0;
    if (!fds[0].revents) continue;
    do {  // what has come together is read together, and poll(2) does not tell of it again
      std::string line;
      if (!std::getline(std::cin, line)) return 0;
      if (!obey(line, memory, &hanging)) throw std::runtime_error("what is '" + line + "'?");
    } while (std::cin.rdbuf()->in_avail() > 0);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  std::ios::sync_with_stdio(false);  // else what is read ahead is where in_avail() does not see it
  if (::setgroups(0, nullptr) != 0 || ::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) return 126;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // setuid() clears it
  try {
    return hold(argv);
  } catch (const std::exception& e) {
    std::cerr << "lease_holder: " << e.what() << "\n";
    return 1;
  }
}
