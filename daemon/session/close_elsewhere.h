// SPDX-License-Identifier: Apache-2.0
// close(2) of a descriptor that a client has sent can wait for the client: FUSE is asked to flush, and answers when it likes
// (fs/fuse/file.c, fuse_flush).
#pragma once

#include <vector>

#include "proto/fd_passing.h"

namespace mrlease::session {

// Thread-safe, never waits. A few threads of its own; while somebody holds all of them up, what comes after stays open.
void close_elsewhere(std::vector<wire::Fd> fds);

}  // namespace mrlease::session
