// SPDX-License-Identifier: Apache-2.0
// A procfs that only this process can reach. In /proc anybody can keep a directory locked for as long as he likes: he reads it into memory
// that never comes (a file server of his does not answer), and asks to change it besides; whoever looks up a name there that was not
// looked up lately waits behind those two, uninterruptibly (fs/readdir.c, iterate_dir(); fs/namei.c, lookup_slow()). Each mount of
// procfs has inodes of its own since 5.8 (fs/proc/root.c, proc_get_tree()).
#pragma once

#include <fcntl.h>

#include <cstddef>
#include <string>

#include "daemon/sys/fd.h"

namespace mrlease::sys {

// Thread-safe, all of them. Paths are relative: "self/fdinfo/5", "12/maps".

// Its root; /proc's where it cannot be mounted (CAP_SYS_ADMIN is missing). For openat(2), open for as long as the process lives.
// Throws std::system_error where not even that can be opened.
int own_proc();
bool has_own_proc();
// For reading, or with these O_*. No file, and errno, where it cannot be opened.
Fd open_proc(const char* path, int flags = O_RDONLY);
// Reading ends beyond `most` bytes, and then with a whole line; empty where it cannot be read.
std::string read_proc(const std::string& path, std::size_t most = std::string::npos);
// What the kernel calls an open file of this process's: its path, or "anon_inode:[eventpoll]". Empty, and errno, where it cannot be told.
std::string link_of(int fd);

}  // namespace mrlease::sys
