// SPDX-License-Identifier: Apache-2.0
#include "daemon/keep/manager.h"

#include <systemd/sd-daemon.h>

#include <cstdlib>
#include <ctime>

namespace mrlease::keep {

std::vector<NamedFd> take_inherited() {
  char** names = nullptr;
  // Sets close-on-exec; 0 when $LISTEN_PID is somebody else's.
  const int count = ::sd_listen_fds_with_names(1, &names);
  std::vector<NamedFd> out;
  for (int i = 0; i < count; i++) {
    out.push_back({names[i], sys::Fd(SD_LISTEN_FDS_START + i)});
    std::free(names[i]);
  }
  std::free(names);
  return out;
}

void tell_ready(const std::string& status) { ::sd_notifyf(0, "READY=1\nSTATUS=%s", status.c_str()); }

void tell_reloading() {
  // MONOTONIC_USEC: what notify-reload of newer managers (253) wants, sd_notify(3).
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  ::sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", now.tv_sec * 1000000ll + now.tv_nsec / 1000);
}

void tell_stopping() { ::sd_notify(0, "STOPPING=1"); }

void tell_alive() { ::sd_notify(0, "WATCHDOG=1"); }

std::optional<std::chrono::milliseconds> watchdog_interval() {
  std::uint64_t us = 0;
  if (::sd_watchdog_enabled(0, &us) <= 0) return std::nullopt;
  // Half of it, as sd_watchdog_enabled(3) recommends.
  return std::max(std::chrono::milliseconds(1), std::chrono::milliseconds(us / 2000));
}

bool has_manager() {
  const char* socket = std::getenv("NOTIFY_SOCKET");
  return socket != nullptr && *socket != '\0';
}

int store(const std::string& name, int fd) {
  // FDPOLL=0 (sd_notify(3), 246): else the manager drops a connection whose client has closed, and a successor could not
  // tell that from a connection that was never kept.
  const std::string text = "FDSTORE=1\nFDPOLL=0\nFDNAME=" + name;
  const int n = ::sd_pid_notify_with_fds(0, 0, text.c_str(), &fd, 1);
  return n < 0 ? -n : 0;
}

int forget(const std::string& name) {
  const int n = ::sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name.c_str());
  return n < 0 ? -n : 0;
}

}  // namespace mrlease::keep
