/* SPDX-License-Identifier: Apache-2.0 */
/* Without a daemon at the socket that it is given: says what mrl_open says. */
#include <errno.h>
#include <mrlease/peers.h>
#include <stdio.h>

int main(int argc, char **argv) {
  struct mrl_open_options options = {0};
  struct mrl_ctx *ctx = NULL;
  int error;
  if (argc != 2) return 2;
  options.struct_size = sizeof options;
  options.socket_path = argv[1];
  error = mrl_open(&options, &ctx);
  printf("%s %d %s\n", mrl_backing_name(MRL_BACKING_BOUNCE), error == ENOENT, mrl_last_error());
  if (error == 0) mrl_close(ctx);
  return 0;
}
