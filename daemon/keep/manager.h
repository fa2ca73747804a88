// SPDX-License-Identifier: Apache-2.0
// The service manager: what it is told of us (sd_notify), and what it hands over at our start (sd_listen_fds).
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "daemon/sys/fd.h"

namespace mrlease::keep {

struct NamedFd {
  std::string name;
  sys::Fd fd;
};

// The descriptors that this process was started with; at its very start, once, before anything opens descriptors. The
// environment variables are unset. Each has close-on-exec.
std::vector<NamedFd> take_inherited();

// Without a manager (no $NOTIFY_SOCKET) every call does nothing. All but the first three may block for as long as the
// manager does not read: a full queue of its datagrams.
void tell_ready(const std::string& status);
void tell_reloading();  // answered by tell_ready()
void tell_stopping();
void tell_alive();      // the watchdog
// How often tell_alive() is due; nothing: no watchdog.
std::optional<std::chrono::milliseconds> watchdog_interval();

// Whether there is a manager that keeps descriptors for us.
bool has_manager();
// Has the manager keep a duplicate under this name, or forget it. 0 or errno.
int store(const std::string& name, int fd);
int forget(const std::string& name);

}  // namespace mrlease::keep
