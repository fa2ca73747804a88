// SPDX-License-Identifier: Apache-2.0
// The system calls of the native ABI that the guards can tell apart.
//
// That a compat call through int 0x80 of a 64-bit task shows i386 numbers does no harm: no number of the families below
// stands for an i386 call that touches a file's content, so none that reads or writes for one that cuts a file
// (tests/unit/guard/classify_i386_test.cc).
#pragma once

#include "daemon/sys/proc_task.h"

namespace mrlease::guard {

enum class Family { Unknown, Read, Write, Move, CopyRange, Truncate, Ftruncate, Fallocate, Madvise, Open, Exec };

struct CallShape {
  Family family = Family::Unknown;
  const char* name = "unknown operation";
  int from = -1, to = -1;  // argument index of the descriptor
  int flags = -1;          // argument index of the flags that matter: RWF_*, O_*, FALLOC_FL_*
};

CallShape call_shape(const sys::SyscallState& call);

}  // namespace mrlease::guard
