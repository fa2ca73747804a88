// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/device_probe.h"

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "daemon/sys/fd.h"

namespace mrlease::ctl {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kPatience{30};  // a loopback connection with retries takes some

std::string program() {
  const char* other = std::getenv("MRLEASE_PROBE");
  return other != nullptr ? other : MRLEASE_PROBE_PROGRAM;
}

// What it prints, until it ends or the patience does; then it is killed. trouble: why there is nothing, or not all.
std::string run(const std::string& path, std::string* trouble) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return *trouble = std::strerror(errno), "";
  const sys::Fd read(ends[0]);
  sys::Fd write(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, write.get(), STDOUT_FILENO);
  std::string name = "mrlease-probe";
  char* const words[] = {name.data(), nullptr};
  pid_t child = 0;
  const int code = ::posix_spawn(&child, path.c_str(), &actions, nullptr, words, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  write.reset();
  if (code != 0) return *trouble = path + ": " + std::strerror(code), "";
  std::string text;
  for (const auto end = Clock::now() + kPatience;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd what{read.get(), POLLIN, 0};
    if (left <= 0 || ::poll(&what, 1, static_cast<int>(left)) == 0) {
      *trouble = "it did not end within 30 s";
      ::kill(child, SIGKILL);
      break;
    }
    char part[4096];
    const ssize_t n = ::read(read.get(), part, sizeof part);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(part, static_cast<std::size_t>(n));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return text;
}

}  // namespace

bool merge_device(const std::string& line, admin::v1::ProbeResponse* answer) {
  admin::v1::DeviceProbe tried;
  if (!google::protobuf::util::JsonStringToMessage(line, &tried).ok() || tried.name().empty()) return false;
  auto& devices = *answer->mutable_devices();
  auto known = std::find_if(devices.begin(), devices.end(), [&](const auto& d) { return d.name() == tried.name(); });
  admin::v1::DeviceProbe& device = known != devices.end() ? *known : *answer->add_devices();
  device.set_name(tried.name());
  for (const auto& capability : tried.capabilities()) {
    auto& all = *device.mutable_capabilities();
    auto same = std::find_if(all.begin(), all.end(), [&](const auto& c) { return c.name() == capability.name(); });
    (same != all.end() ? *same : *all.Add()) = capability;
  }
  return true;
}

void probe_devices(admin::v1::ProbeResponse* answer) {
  std::string trouble;
  std::istringstream lines(run(program(), &trouble));
  for (std::string line; std::getline(lines, line);)
    if (!merge_device(line, answer) && trouble.empty()) trouble = "it says: " + line.substr(0, 200);
  if (trouble.empty()) return;
  for (auto& device : *answer->mutable_devices())
    for (auto& capability : *device.mutable_capabilities())
      if (capability.name() == "odp") capability.set_reason(capability.reason() + " (not tried: " + trouble + ")");
}

}  // namespace mrlease::ctl
