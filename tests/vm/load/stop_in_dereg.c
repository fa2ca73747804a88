/* SPDX-License-Identifier: Apache-2.0
 * Preloaded into the receiver: the process stops in its first ibv_dereg_mr() of a memory region of STOP_IN_DEREG bytes, when the
 * daemon has acknowledged that it goes and the kernel still has it. raise(): a signal to the process may stop another thread first. */
#include <dlfcn.h>
#include <infiniband/verbs.h>
#include <signal.h>
#include <stdlib.h>

int ibv_dereg_mr(struct ibv_mr *mr) {
  static int stopped;
  int (*next)(struct ibv_mr *);
  const char *const bytes = getenv("STOP_IN_DEREG");
  *(void **)&next = dlsym(RTLD_NEXT, "ibv_dereg_mr");
  if (bytes && mr->length == strtoull(bytes, NULL, 10) && !stopped++) raise(SIGSTOP);
  return next(mr);
}
