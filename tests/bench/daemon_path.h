// SPDX-License-Identifier: Apache-2.0
// The real mrleased, with an unprivileged client that speaks the wire itself and complies with every recall at once.
#pragma once

#include <memory>
#include <string>

#include "contestant.h"
#include "processes.h"

namespace mrlease::bench {

// daemon: the path of mrleased. It looks after `dir`, and logs into it.
void start_daemon(Process* process, const std::string& daemon, const std::string& dir, const std::string& socket);
// Connects as soon as the daemon listens; dies after 20 s.
int connect_daemon(const std::string& socket);

enum class Leased { Odp, Bounce };

// A daemon of its own, in a folder of that name within dir.
std::unique_ptr<Contestant> make_daemon(const std::string& name, const std::string& daemon, const std::string& dir, Leased backing);

}  // namespace mrlease::bench
