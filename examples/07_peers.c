/* SPDX-License-Identifier: Apache-2.0
 *
 * A remote peer that pauses instead of failing: as 02, but with backings whose breaks need quiet (direct, cooperative odp). A
 * second connection beside the one that carries data tells the sender when to hold, when to go on, and by which keys.
 *   07_peers receive FILE ADDRESS PORT BACKING [SOCKET]   BACKING: direct, odp-cooperative, bounce; ends after one sender
 *   07_peers send FILE ADDRESS PORT                       as much as FILE has, again and again; after SIGTERM FILE itself, at last
 * FILE's length is a multiple of 4096 on both sides: MRL_QUIRK_ODP_PAGE_ALIGNED is accepted.
 */
#include <errno.h>
#include <fcntl.h>
#include <mrlease/peers.h>
#include <rdma/rdma_verbs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { kChunk = 64 * 1024, kWindow = 8, kFile = 0, kHoldMs = 1000, kPatienceMs = 10000 };

static int fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  return 1;
}

static void say(const char *what, unsigned long long number) {
  printf("%s %llu\n", what, number);
  fflush(stdout);
}

/* Both connections have the same room: the listener makes the queue pairs of its side alike. */
static struct rdma_cm_id *endpoint(const char *address, const char *port, int passive) {
  struct rdma_addrinfo hints = {.ai_flags = passive ? RAI_PASSIVE : 0, .ai_port_space = RDMA_PS_TCP}, *found;
  struct ibv_qp_init_attr queue = {.cap = {.max_send_wr = kWindow + MRL_PEER_QUEUE_DEPTH, .max_recv_wr = MRL_PEER_QUEUE_DEPTH,
                                           .max_send_sge = 1, .max_recv_sge = 1},
                                   .sq_sig_all = 1};
  struct rdma_cm_id *id = NULL;
  if (rdma_getaddrinfo(address, port, &hints, &found)) return NULL;
  if (rdma_create_ep(&id, found, NULL, &queue)) id = NULL;
  rdma_freeaddrinfo(found);
  return id;
}

/* ---- the receiver: it has the file ---- */

static int on_event(const struct mrl_event *event, void *peers) {
  say("event", event->type);
  return mrl_peers_event(peers, event);
}

static int accept_one(struct rdma_cm_id *listener, struct rdma_cm_id **id) {
  struct rdma_conn_param answer = {.responder_resources = 1, .rnr_retry_count = 7};
  if (rdma_get_request(listener, id)) return fail("rdma_get_request", strerror(errno));
  return rdma_accept(*id, &answer) ? fail("rdma_accept", strerror(errno)) : 0;
}

static int wait_until_it_hangs_up(struct rdma_cm_id *id) {
  struct rdma_cm_event *event;
  for (int over = 0; !over; rdma_ack_cm_event(event)) {
    if (rdma_get_cm_event(id->channel, &event)) return fail("rdma_get_cm_event", strerror(errno));
    over = event->event == RDMA_CM_EVENT_DISCONNECTED;
  }
  return 0;
}

static int serve_one_sender(struct mrl_peers *peers, struct rdma_cm_id *data, struct rdma_cm_id *control) {
  uint64_t peer;
  if (mrl_peers_add(peers, control->qp, &data->qp, 1, &peer)) return fail("mrl_peers_add", mrl_last_error());
  say("connected as", peer);
  if (wait_until_it_hangs_up(data)) return 1;
  if (mrl_peers_status(peers, peer)) printf("the sender: %s\n", mrl_last_error());
  return mrl_peers_remove(peers, peer) ? fail("mrl_peers_remove", mrl_last_error()) : 0;
}

static int lease(struct mrl_ctx *ctx, struct ibv_pd *pd, const char *path, const char *backing, struct mrl_region **region) {
  struct stat about;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &about)) return fail(path, strerror(errno));
  struct mrl_reg_options options = {.struct_size = sizeof options, .accept_quirks = MRL_QUIRK_ODP_PAGE_ALIGNED};
  options.backing = !strcmp(backing, "direct") ? MRL_BACKING_DIRECT
                  : !strcmp(backing, "bounce") ? MRL_BACKING_BOUNCE : MRL_BACKING_ODP_COOPERATIVE;
  const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
  const int code = mrl_reg_file(ctx, pd, fd, 0, (size_t)about.st_size, access, &options, region);
  close(fd);
  return code ? fail("mrl_reg_file", mrl_last_error()) : 0;
}

static int receive(const char *path, const char *address, const char *port, const char *backing, const char *socket) {
  struct mrl_peers *peers;
  if (mrl_peers_create(&peers)) return fail("mrl_peers_create", mrl_last_error());
  struct mrl_open_options options = {.struct_size = sizeof options, .socket_path = socket, .callback = on_event, .user = peers};
  struct mrl_ctx *ctx;
  if (mrl_open(&options, &ctx)) return fail("mrl_open", mrl_last_error());
  struct rdma_cm_id *listener = endpoint(address, port, 1), *data, *control;
  if (!listener || rdma_listen(listener, 2)) return fail("listen", strerror(errno));
  say("listening on", strtoull(port, NULL, 10));
  if (accept_one(listener, &data) || accept_one(listener, &control)) return 1;
  struct mrl_region *region;
  if (lease(ctx, data->pd, path, backing, &region)) return 1;
  if (mrl_peers_offer(peers, region, kFile)) return fail("mrl_peers_offer", mrl_last_error());
  if (serve_one_sender(peers, data, control)) return 1;
  if (mrl_sync(region, 0, 0)) return fail("mrl_sync", mrl_last_error());
  if (mrl_peers_withdraw(peers, region, kHoldMs)) return fail("mrl_peers_withdraw", mrl_last_error());
  if (mrl_dereg(region)) return fail("mrl_dereg", mrl_last_error());
  struct mrl_peers_info info = {.struct_size = sizeof info};
  mrl_peers_get_info(peers, &info);
  say("holds:", info.holds);
  say("the longest, in us:", info.hold_us_max);
  say("peers cut:", info.cut);
  mrl_close(ctx); /* before the peers: no event comes any more */
  mrl_peers_destroy(peers);
  rdma_destroy_ep(control);
  rdma_destroy_ep(data);
  rdma_destroy_ep(listener);
  puts("it is on the disk");
  return 0;
}

/* ---- the sender ---- */

/* One window, inside the guard: posted with these keys, and complete before it is left. */
static int send_window(struct rdma_cm_id *id, const struct mrl_target *target, char *from, size_t at, size_t length,
                       struct ibv_mr *mr) {
  int in_flight = 0;
  struct ibv_wc done;
  for (size_t part; length > 0 && in_flight < kWindow; at += part, from += part, length -= part, in_flight++) {
    part = length < kChunk ? length : kChunk;
    if (rdma_post_write(id, NULL, from, part, mr, 0, target->address + at, target->rkey)) return fail("post", strerror(errno));
  }
  for (; in_flight > 0; in_flight--) {
    if (rdma_get_send_comp(id, &done) <= 0) return fail("rdma_get_send_comp", strerror(errno));
    if (done.status != IBV_WC_SUCCESS) return fail("write", ibv_wc_status_str(done.status));
  }
  return 0;
}

static int send_all(struct rdma_cm_id *id, struct mrl_peer *peer, char *data, size_t length, struct ibv_mr *mr, uint64_t *keys) {
  for (size_t at = 0; at < length; at += kChunk * kWindow) {
    struct mrl_target target = {.struct_size = sizeof target};
    if (mrl_peer_enter(peer, kFile, &target, kPatienceMs)) return fail("mrl_peer_enter", mrl_last_error());
    const int bad = target.size < length ? fail("the receiver's file", "is too short")
                                         : send_window(id, &target, data + at, at, length - at, mr);
    mrl_peer_leave(peer, kFile);
    if (bad) return 1;
    *keys = target.generation;
  }
  return 0;
}

static volatile sig_atomic_t ending;

static void on_sigterm(int signal) { ending = signal; }

/* Every round differs, so that a write that got lost shows. */
static int send_rounds(struct rdma_cm_id *id, struct mrl_peer *peer, int fd, size_t length) {
  char *data = malloc(length);
  struct ibv_mr *mr = data ? rdma_reg_msgs(id, data, length) : NULL;
  if (!mr) return fail("rdma_reg_msgs", strerror(errno));
  uint64_t keys = 0;
  int bad = 0, last = 0;
  for (int round = 1; !last && !bad; round++) {
    last = ending;
    if (!last) memset(data, round, length);
    else if (pread(fd, data, length, 0) != (ssize_t)length) bad = fail("pread", strerror(errno));
    bad = bad || send_all(id, peer, data, length, mr, &keys);
    if (!bad) say("round", (unsigned long long)round);
  }
  if (!bad) say("sent, at last with the keys of generation", keys);
  rdma_dereg_mr(mr);
  free(data);
  return bad;
}

static int send_file(const char *path, const char *address, const char *port) {
  struct sigaction term = {.sa_handler = on_sigterm, .sa_flags = SA_RESTART};
  sigaction(SIGTERM, &term, NULL);
  struct stat about;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &about)) return fail(path, strerror(errno));
  struct rdma_conn_param wanted = {.retry_count = 7, .rnr_retry_count = 7};
  struct rdma_cm_id *data = endpoint(address, port, 0), *control = endpoint(address, port, 0);
  struct mrl_peer *peer;
  if (!data || !control) return fail(address, strerror(errno));
  if (mrl_peer_create(control->qp, &peer)) return fail("mrl_peer_create", mrl_last_error());
  if (rdma_connect(data, &wanted) || rdma_connect(control, &wanted)) return fail("connect", strerror(errno));
  const int bad = send_rounds(data, peer, fd, (size_t)about.st_size);
  mrl_peer_destroy(peer); /* it has said that it posts no more; then the queue pairs may go */
  rdma_disconnect(data);
  rdma_destroy_ep(control);
  rdma_destroy_ep(data);
  close(fd);
  return bad;
}

int main(int argc, char **argv) {
  if (argc >= 6 && !strcmp(argv[1], "receive")) return receive(argv[2], argv[3], argv[4], argv[5], argc > 6 ? argv[6] : NULL);
  if (argc == 5 && !strcmp(argv[1], "send")) return send_file(argv[2], argv[3], argv[4]);
  return fail("usage", "07_peers receive FILE ADDRESS PORT BACKING [SOCKET] | send FILE ADDRESS PORT");
}
