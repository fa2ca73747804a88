/* SPDX-License-Identifier: Apache-2.0
 *
 * Lease a whole file, register it with the first RDMA device, and tell what happens to it until standard input ends.
 *   01_register_and_recall FILE [SOCKET]
 */
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <mrlease/mrlease.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const kNames[] = {"", "RECALL", "RESTORED", "TRIMMED", "FENCED", "DISCONNECTED", "RECONNECTED"};

/* Runs on a thread of the library. A RECALL comes only to backings that cannot hide a break from the peer: here nobody
 * is posting, so there is nothing to wait for. An application would stop its peer and return when nothing is in flight. */
static int on_event(const struct mrl_event *event, void *user) {
  (void)user;
  printf("%s size %llu rkey %#x %s\n", kNames[event->type], (unsigned long long)event->size, event->rkey,
         event->message ? event->message : "");
  fflush(stdout);
  return 0;
}

static int fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  return 1;
}

int main(int argc, char **argv) {
  if (argc < 2) return fail("usage", "01_register_and_recall FILE [SOCKET]");
  int fd = open(argv[1], O_RDWR | O_CLOEXEC);
  struct stat about;
  if (fd < 0 || fstat(fd, &about)) return fail(argv[1], strerror(errno));

  struct ibv_device **devices = ibv_get_device_list(NULL);
  if (!devices || !devices[0]) return fail("no RDMA device", "rdma link add rxe0 type rxe netdev eth0 makes one");
  struct ibv_context *device = ibv_open_device(devices[0]);
  struct ibv_pd *pd = device ? ibv_alloc_pd(device) : NULL;
  if (!pd) return fail("open the device", strerror(errno));

  struct mrl_open_options options = {
      .struct_size = sizeof options, .socket_path = argc > 2 ? argv[2] : NULL, .callback = on_event};
  struct mrl_ctx *ctx;
  if (mrl_open(&options, &ctx)) return fail("mrl_open", mrl_last_error());
  struct mrl_region *region;
  const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
  if (mrl_reg_file(ctx, pd, fd, 0, (size_t)about.st_size, access, NULL, &region))
    return fail("mrl_reg_file", mrl_last_error());

  struct mrl_info info = {.struct_size = sizeof info};
  mrl_get_info(region, &info);
  printf("leased %zu bytes at %p, rkey %#x, backing %s (%s), guard %s (%s)\n", mrl_length(region), mrl_addr(region),
         mrl_rkey(region), mrl_backing_name(info.backing), info.backing_reason, info.guard, info.coverage);
  fflush(stdout);
  char line[80];
  while (fgets(line, sizeof line, stdin)) {
    if (mrl_sync(region, 0, 0)) fprintf(stderr, "mrl_sync: %s\n", mrl_last_error());
  }
  if (mrl_dereg(region)) fprintf(stderr, "mrl_dereg: %s\n", mrl_last_error());
  mrl_close(ctx);
  ibv_dealloc_pd(pd);
  ibv_close_device(device);
  ibv_free_device_list(devices);
  return 0;
}
