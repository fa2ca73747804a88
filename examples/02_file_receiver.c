/* SPDX-License-Identifier: Apache-2.0
 *
 * A file that arrives by RDMA writes: the receiver leases it and tells a peer, over rdma_cm, where to write; the sender
 * writes a local file there. Truncates, syncs and backups of the receiver's file by others harm nobody meanwhile.
 *   02_file_receiver receive FILE ADDRESS PORT [SOCKET]      FILE is as long as what may come; ends after one sender
 *   02_file_receiver send FILE ADDRESS PORT
 */
#include <errno.h>
#include <fcntl.h>
#include <mrlease/mrlease.h>
#include <rdma/rdma_verbs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {  /* the private data of the connection */
  uint64_t address, length;
  uint32_t rkey;
};

enum { kChunk = 64 * 1024, kWindow = 8 };

static int fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  return 1;
}

static struct rdma_cm_id *endpoint(const char *address, const char *port, int passive) {
  struct rdma_addrinfo hints = {.ai_flags = passive ? RAI_PASSIVE : 0, .ai_port_space = RDMA_PS_TCP}, *found;
  struct ibv_qp_init_attr queue = {.cap = {.max_send_wr = kWindow + 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1},
                                   .sq_sig_all = 1};
  struct rdma_cm_id *id = NULL;
  if (rdma_getaddrinfo(address, port, &hints, &found)) return NULL;
  if (rdma_create_ep(&id, found, NULL, &queue)) id = NULL;
  rdma_freeaddrinfo(found);
  return id;
}

/* ---- the receiver ---- */

static _Atomic(struct ibv_qp *) peer;

/* Where a break cannot be hidden from the peer (odp without userfaultfd, direct), it has to stop: its queue pair ends, and it
 * comes again for the keys of that moment. With bounce, or odp that is transparent, no RECALL comes. */
static int on_event(const struct mrl_event *event, void *user) {
  (void)user;
  struct ibv_qp_attr stop = {.qp_state = IBV_QPS_ERR};
  struct ibv_qp *const queue = atomic_load(&peer);
  printf("event %d: %s\n", event->type, event->message);
  fflush(stdout);
  return event->type == MRL_EVENT_RECALL && queue ? ibv_modify_qp(queue, &stop, IBV_QP_STATE) : 0;
}

static int wait_until_it_hangs_up(struct rdma_cm_id *id) {
  struct rdma_cm_event *event;
  for (int over = 0; !over; rdma_ack_cm_event(event)) {
    if (rdma_get_cm_event(id->channel, &event)) return fail("rdma_get_cm_event", strerror(errno));
    over = event->event == RDMA_CM_EVENT_DISCONNECTED;
  }
  return 0;
}

static int receive(const char *path, const char *address, const char *port, const char *socket) {
  struct stat about;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &about)) return fail(path, strerror(errno));
  struct mrl_open_options options = {.struct_size = sizeof options, .socket_path = socket, .callback = on_event};
  struct mrl_ctx *ctx;
  if (mrl_open(&options, &ctx)) return fail("mrl_open", mrl_last_error());
  struct rdma_cm_id *listener = endpoint(address, port, 1), *id;
  if (!listener || rdma_listen(listener, 1)) return fail("listen", strerror(errno));
  puts("listening");
  fflush(stdout);
  if (rdma_get_request(listener, &id)) return fail("rdma_get_request", strerror(errno));
  struct mrl_region *region;
  if (mrl_reg_file(ctx, id->pd, fd, 0, (size_t)about.st_size, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE, NULL, &region))
    return fail("mrl_reg_file", mrl_last_error());
  struct place place = {(uintptr_t)mrl_addr(region), mrl_length(region), mrl_rkey(region)};
  struct rdma_conn_param answer = {.private_data = &place, .private_data_len = sizeof place, .responder_resources = 1};
  atomic_store(&peer, id->qp);
  if (rdma_accept(id, &answer)) return fail("rdma_accept", strerror(errno));
  puts("connected");
  fflush(stdout);
  if (wait_until_it_hangs_up(id)) return 1;
  atomic_store(&peer, NULL);
  if (mrl_sync(region, 0, 0)) return fail("mrl_sync", mrl_last_error());
  if (mrl_dereg(region)) return fail("mrl_dereg", mrl_last_error());
  puts("it is on the disk");
  rdma_destroy_ep(id);
  rdma_destroy_ep(listener);
  mrl_close(ctx);
  return 0;
}

/* ---- the sender: plain verbs, it knows nothing of leases ---- */

static int await(struct rdma_cm_id *id) {
  struct ibv_wc done;
  if (rdma_get_send_comp(id, &done) <= 0) return fail("rdma_get_send_comp", strerror(errno));
  return done.status == IBV_WC_SUCCESS ? 0 : fail("write", ibv_wc_status_str(done.status));
}

static int send_all(struct rdma_cm_id *id, char *data, size_t length, const struct place *place, struct ibv_mr *mr) {
  int in_flight = 0;
  for (size_t at = 0; at < length; at += kChunk) {
    if (in_flight == kWindow && await(id)) return 1;
    if (in_flight < kWindow) in_flight++;
    const size_t part = length - at < kChunk ? length - at : kChunk;
    if (rdma_post_write(id, NULL, data + at, part, mr, 0, place->address + at, place->rkey)) return fail("post", strerror(errno));
  }
  while (in_flight-- > 0)
    if (await(id)) return 1;
  return 0;
}

static int send_file(const char *path, const char *address, const char *port) {
  struct stat about;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &about)) return fail(path, strerror(errno));
  const size_t length = (size_t)about.st_size;
  char *data = malloc(length);
  if (!data || pread(fd, data, length, 0) != (ssize_t)length) return fail(path, "cannot be read");
  struct rdma_cm_id *id = endpoint(address, port, 0);
  struct rdma_conn_param wanted = {.retry_count = 7, .rnr_retry_count = 7};
  if (!id || rdma_connect(id, &wanted)) return fail("connect", strerror(errno));
  struct place place;
  if (!id->event || id->event->param.conn.private_data_len < sizeof place) return fail("connect", "the receiver says no place");
  memcpy(&place, id->event->param.conn.private_data, sizeof place);
  if (place.length < length) return fail(path, "is longer than the receiver's file");
  struct ibv_mr *mr = rdma_reg_msgs(id, data, length);
  if (!mr) return fail("rdma_reg_msgs", strerror(errno));
  const int bad = send_all(id, data, length, &place, mr);
  if (!bad) printf("sent %zu bytes\n", length);
  rdma_disconnect(id);
  rdma_dereg_mr(mr);
  rdma_destroy_ep(id);
  free(data);
  return bad;
}

int main(int argc, char **argv) {
  if (argc >= 5 && !strcmp(argv[1], "receive")) return receive(argv[2], argv[3], argv[4], argc > 5 ? argv[5] : NULL);
  if (argc == 5 && !strcmp(argv[1], "send")) return send_file(argv[2], argv[3], argv[4]);
  return fail("usage", "02_file_receiver receive FILE ADDRESS PORT [SOCKET] | send FILE ADDRESS PORT");
}
