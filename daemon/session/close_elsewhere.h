// SPDX-License-Identifier: Apache-2.0
// close(2) of a descriptor that a client has sent can wait for the client: FUSE is asked to flush, and answers when it likes
// (fs/fuse/file.c, fuse_flush).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <vector>

#include "proto/fd_passing.h"

namespace mrlease::session {

// From the loop's thread; never waits. Each user has a few threads: while the user's files hold all of them up, what comes
// after from the same user stays open.
void close_elsewhere(std::vector<wire::Fd> fds, uid_t user);
// How many of the user's wait to be closed.
std::size_t unclosed(uid_t user);

}  // namespace mrlease::session
