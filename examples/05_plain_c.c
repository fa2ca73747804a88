/* SPDX-License-Identifier: Apache-2.0
 *
 * What an existing verbs program changes. This one maps a file, registers the mapping and fills it by RDMA writes over a
 * connection to itself, round after round (each 8-byte word is the round's number), until standard input ends. What is new
 * or another says "lease:", and what was there before; all the rest is as it was.
 *   05_plain_c FILE [SOCKET [BACKING]]      BACKING: auto, odp, odp-cooperative, direct, bounce
 */
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <mrlease/mrlease.h> /* lease: new */
#include <poll.h>
#include <semaphore.h> /* lease: new */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { kChunk = 64 * 1024 };

static struct ibv_pd *pd;
static struct ibv_cq *cq;

static int fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  return 1;
}

/* lease: new. Runs on a thread of the library. To a RECALL the answer is 0: what is between mrl_enter and mrl_leave is waited
 * for, and nothing else is ever in flight. RESTORED or FENCED follows, and whom mrl_enter sent away comes again. */
static sem_t changed;
static int on_event(const struct mrl_event *event, void *user) {
  static const char *const names[] = {"", "RECALL", "RESTORED", "TRIMMED", "FENCED", "DISCONNECTED", "RECONNECTED"};
  (void)user;
  printf("%s size %llu %s\n", names[event->type], (unsigned long long)event->size, event->message);
  fflush(stdout);
  if (event->type == MRL_EVENT_RESTORED || event->type == MRL_EVENT_FENCED) sem_post(&changed);
  return 0;
}

/* lease: new. */
static int open_library(const char *socket, struct mrl_ctx **ctx) {
  const struct mrl_open_options options = {.struct_size = sizeof options, .socket_path = socket, .callback = on_event};
  sem_init(&changed, 0, 0);
  return mrl_open(&options, ctx) ? fail("mrl_open", mrl_last_error()) : 0;
}

/* lease: new. Without a BACKING this is the default, and NULL would do. */
static struct mrl_reg_options wanted(const char *backing) {
  struct mrl_reg_options options = {.struct_size = sizeof options};
  for (int b = MRL_BACKING_AUTO; backing && b <= MRL_BACKING_BOUNCE; b++)
    if (!strcmp(backing, mrl_backing_name(b))) options.backing = b;
  if (backing) options.accept_quirks = MRL_QUIRK_ODP_PAGE_ALIGNED; /* whole pages are written; the path MTU has to be 4096 */
  return options;
}

/* lease: new. */
static void tell(struct mrl_region *region) {
  struct mrl_info info = {.struct_size = sizeof info};
  if (!mrl_get_info(region, &info))
    printf("leased %zu bytes, backing %s%s, guard %s (%s)\n", mrl_length(region), mrl_backing_name(info.backing),
           info.transparent ? ", transparent" : "", info.guard, info.coverage);
}

/* ---- a connection to itself: plain verbs ---- */

static struct ibv_qp *queue_pair(void) {
  struct ibv_qp_init_attr attributes = {.send_cq = cq, .recv_cq = cq, .qp_type = IBV_QPT_RC,
                                        .cap = {.max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1}};
  return ibv_create_qp(pd, &attributes);
}

/* The first port; of its GIDs the last: over RoCE v2, an address that an administrator gave. */
static int connect_to(struct ibv_qp *qp, struct ibv_qp *peer) {
  struct ibv_port_attr port;
  struct ibv_gid_entry gids[64];
  const ssize_t n = ibv_query_gid_table(pd->context, gids, 64, 0);
  if (ibv_query_port(pd->context, 1, &port) || n < 1) return ENETDOWN;
  struct ibv_qp_attr a = {.qp_state = IBV_QPS_INIT, .port_num = 1, .qp_access_flags = IBV_ACCESS_REMOTE_WRITE};
  int code = ibv_modify_qp(qp, &a, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  if (code) return code;
  a = (struct ibv_qp_attr){
      .qp_state = IBV_QPS_RTR, .path_mtu = port.active_mtu, .dest_qp_num = peer->qp_num, .min_rnr_timer = 12};
  a.ah_attr.port_num = 1;
  a.ah_attr.dlid = port.lid;
  a.ah_attr.is_global = 1;
  a.ah_attr.grh.dgid = gids[n - 1].gid;
  a.ah_attr.grh.sgid_index = gids[n - 1].gid_index;
  a.ah_attr.grh.hop_limit = 1;
  code = ibv_modify_qp(qp, &a, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                               IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
  if (code) return code;
  a = (struct ibv_qp_attr){.qp_state = IBV_QPS_RTS, .timeout = 14, .retry_cnt = 7, .rnr_retry = 7};
  return ibv_modify_qp(qp, &a, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
                               IBV_QP_MAX_QP_RD_ATOMIC);
}

static int write_chunk(struct ibv_qp *qp, struct ibv_mr *from, size_t length, uint64_t address, uint32_t rkey) {
  struct ibv_sge piece = {(uintptr_t)from->addr, (uint32_t)length, from->lkey};
  struct ibv_send_wr *bad, request = {.sg_list = &piece, .num_sge = 1, .opcode = IBV_WR_RDMA_WRITE,
                                      .send_flags = IBV_SEND_SIGNALED, .wr.rdma = {address, rkey}};
  struct ibv_wc done;
  int n;
  if (ibv_post_send(qp, &request, &bad)) return fail("ibv_post_send", strerror(errno));
  while ((n = ibv_poll_cq(cq, 1, &done)) == 0) {}
  return n == 1 && done.status == IBV_WC_SUCCESS ? 0 : fail("write", n == 1 ? ibv_wc_status_str(done.status) : "ibv_poll_cq");
}

/* lease: new, around write_chunk(). Keys and size are asked for each time: direct regions have other keys after a RECALL, and
 * end where the file does. */
static int write_leased(struct mrl_region *region, struct ibv_qp *qp, struct ibv_mr *from, size_t at, size_t length) {
  struct mrl_info info = {.struct_size = sizeof info};
  int code;
  while ((code = mrl_enter(region)) == EAGAIN) sem_wait(&changed);
  if (code) return fail("mrl_enter", strerror(code));
  if (mrl_get_info(region, &info)) code = fail("mrl_get_info", mrl_last_error());
  if (length > info.size - at) length = info.size - at;
  if (at < info.size) code = write_chunk(qp, from, length, (uintptr_t)mrl_addr(region) + at, mrl_rkey(region));
  mrl_leave(region);
  return code;
}

static int input_ended(void) {
  struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
  char c;
  return poll(&in, 1, 0) == 1 && read(in.fd, &c, 1) < 1;
}

int main(int argc, char **argv) {
  if (argc < 2) return fail("usage", "05_plain_c FILE [SOCKET [BACKING]]");
  const int fd = open(argv[1], O_RDWR | O_CLOEXEC);
  struct stat about;
  if (fd < 0 || fstat(fd, &about)) return fail(argv[1], strerror(errno));
  const size_t length = (size_t)about.st_size;
  char *buffer = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (buffer == MAP_FAILED) return fail("mmap", strerror(errno));
  close(fd);

  struct ibv_device **devices = ibv_get_device_list(NULL);
  if (!devices || !devices[0]) return fail("no RDMA device", "rdma link add rxe0 type rxe netdev eth0 makes one");
  struct ibv_context *device = ibv_open_device(devices[0]);
  if (!device || !(pd = ibv_alloc_pd(device)) || !(cq = ibv_create_cq(device, 2, NULL, NULL, 0)))
    return fail("open the device", strerror(errno));
  struct ibv_qp *here = queue_pair(), *there = queue_pair();
  if (!here || !there || connect_to(here, there) || connect_to(there, here)) return fail("connect", "it does not reach itself");
  uint64_t *source = aligned_alloc(4096, kChunk);
  struct ibv_mr *from = source ? ibv_reg_mr(pd, source, kChunk, IBV_ACCESS_LOCAL_WRITE) : NULL;
  if (!from) return fail("ibv_reg_mr", strerror(errno));

  const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
  struct mrl_ctx *ctx;                                                      /* lease: new */
  if (open_library(argc > 2 ? argv[2] : NULL, &ctx)) return 1;              /* lease: new */
  const struct mrl_reg_options options = wanted(argc > 3 ? argv[3] : NULL); /* lease: new */
  struct mrl_region *region;                                                /* lease: was struct ibv_mr *mr */
  if (mrl_reg_mr(ctx, pd, buffer, length, access, &options, &region))       /* lease: was ibv_reg_mr(pd, buffer, ...) */
    return fail("mrl_reg_mr", mrl_last_error());
  tell(region);                                                             /* lease: new */

  uint64_t round = 0;
  for (int bad = 0; !input_ended(); bad = 0) {
    round++;
    for (size_t k = 0; k < kChunk / sizeof *source; k++) source[k] = round;
    for (size_t at = 0; at < length && !bad; at += kChunk)
      bad = write_leased(region, here, from, at, length - at < kChunk ? length - at : kChunk);
    if (bad) return 1;
    printf("round %llu\n", (unsigned long long)round);
    fflush(stdout);
  }

  if (mrl_dereg(region)) return fail("mrl_dereg", mrl_last_error());        /* lease: was ibv_dereg_mr(mr) */
  mrl_close(ctx);                                                           /* lease: new */
  ibv_dereg_mr(from);
  ibv_destroy_qp(here);
  ibv_destroy_qp(there);
  ibv_destroy_cq(cq);
  ibv_dealloc_pd(pd);
  ibv_close_device(device);
  ibv_free_device_list(devices);
  munmap(buffer, length);
  free(source);
  return 0;
}
