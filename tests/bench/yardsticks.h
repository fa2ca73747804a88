// SPDX-License-Identifier: Apache-2.0
// What the daemon is measured against: the least that can be done in C with the same kernel mechanisms.
#pragma once

#include <memory>
#include <string>

#include "contestant.h"

namespace mrlease::bench {

// Nobody holds the file: the price of the operation itself.
std::unique_ptr<Contestant> make_bare(const std::string& dir);
// fanotify event -> /proc/<tid>/syscall -> SOCK_SEQPACKET round trip to a process that answers at once -> FAN_ALLOW.
std::unique_ptr<Contestant> make_chain(const std::string& dir);
// fanotify event -> FAN_ALLOW.
std::unique_ptr<Contestant> make_responder(const std::string& dir);
// The same after a SOCK_SEQPACKET round trip to a process that answers at once, and a comparison of a page of a memfd with the file's.
std::unique_ptr<Contestant> make_comparer(const std::string& dir);
// The kernel's own: a holder of F_SETLEASE that gives the lease up when it is told.
std::unique_ptr<Contestant> make_lease_holder(const std::string& dir);

}  // namespace mrlease::bench
