/* SPDX-License-Identifier: Apache-2.0
 *
 * libmrlease: remote peers of a leased region, told when to stop, when to go on, and with which keys.
 *
 * With direct and cooperative odp backings a break asks the application for quiet (MRL_EVENT_RECALL), and direct gives it new
 * keys afterwards. Who posts the RDMA reads and writes is somewhere else. Two halves take care of it over a CONTROL queue pair
 * beside those that carry data: the OWNER has the regions (mrl_peers_*), each PEER posts to them (mrl_peer_*). A break then
 * costs a peer a pause, not an error. With transparent odp and bounce the keys stay, and hardly anything is held (a revoke, a
 * thaw that would stall the peer too long): the same calls work, and cost next to nothing.
 *
 * The control queue pair: reliable connected (IBV_QPT_RC), with room for MRL_PEER_QUEUE_DEPTH sends and as many receives of
 * one piece each, no shared receive queue; rnr_retry 7 (the library sets its min_rnr_timer to 0.64 ms). Its completion queues,
 * each made with a completion channel, serve nothing else. With rdma_cm: the id->qp of rdma_create_ep() on a second
 * connection. It is the library's from mrl_peers_add() and mrl_peer_create() until mrl_peers_remove() and mrl_peer_destroy(),
 * which leave it in the error state; destroying it afterwards, and never before, is the application's. Moving it to the error
 * state (rdma_disconnect()) ends the conversation at any time.
 *
 * A peer can cost the owner time, and never more than until the recall's deadline: who does not answer by then, who sends what
 * the protocol does not have, and whose control connection is lost, is CUT: its data queue pairs and the control one are moved
 * to the error state. What it may reach while it is asked to hold is the lease's affair: its keys, or the pages, are taken away
 * in any case. So a peer that lies about holding harms only what it writes itself.
 *
 * Errors, threads, units: as mrlease.h says. Each side has one thread of the library.
 */
#ifndef MRLEASE_PEERS_H
#define MRLEASE_PEERS_H

#include "mrlease/mrlease.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ibv_qp;
struct mrl_peers; /* the owner's side: its peers, and what they were offered */
struct mrl_peer;  /* a peer's side: one owner */

#define MRL_PEER_QUEUE_DEPTH 8 /* sends, and receives, of the control queue pair: at least so many */

/* ---- the owner ---- */

/* An owner without peers. The caller owns *peers and ends it with mrl_peers_destroy(). EMFILE, EAGAIN, ENOMEM: limits. */
MRL_API int mrl_peers_create(struct mrl_peers **peers);
/* Remove what is still there (mrl_peers_remove() for each peer) and end the thread. A RECALL that waits is complied with first,
 * and its peers are cut. Withdraw the regions before, to let the peers finish. No other call with peers may run or follow, the
 * callback's mrl_peers_event() included. */
MRL_API int mrl_peers_destroy(struct mrl_peers *peers);

/*
 * A connected peer: it is told of every region that is offered, now and later.
 * control: as above, in the state RTS. data[0..data_count): the queue pairs by which this peer reaches the regions, so that they
 * can be ended; the array is copied, the queue pairs stay the caller's and must live until mrl_peers_remove(). data may be NULL
 * where data_count is 0: then only the lease itself keeps a hung peer away, and a cut costs the owner its promise of quiet.
 * It is told the key of the first memory region that is of the protection domain of data[0] (of control, without data), or else
 * mrl_rkey(): so peers on several devices reach one region, when mrl_add_mr() came before mrl_peers_offer().
 * *peer: its number, for mrl_peers_remove() and mrl_peers_status(); never used twice.
 *   EINVAL   control is not what is asked for; the sentence says what of it
 *   ENOMEM   or what ibv_reg_mr() and ibv_post_recv() say: control is as before, but for receives that are posted
 */
MRL_API int mrl_peers_add(struct mrl_peers *peers, struct ibv_qp *control, struct ibv_qp *const *data, size_t data_count,
                          uint64_t *peer);
/* Forget a peer: one that has left, was cut, or whose data queue pairs have ended otherwise. It is no longer waited for, and not
 * told any more. The control queue pair is in the error state afterwards, the data ones are as they were: one by which a peer
 * still posts would not be quiet in the next recall. ENOENT: there is no such peer. */
MRL_API int mrl_peers_remove(struct mrl_peers *peers, uint64_t peer);
/* 0 while the peer is there. ESHUTDOWN: it has left by itself (mrl_peer_destroy()); or why it was cut: ETIMEDOUT (a hold was not
 * answered), EPROTO (it sent what the protocol does not have), ENOTCONN (the connection is lost), with the sentence.
 * ENOENT: there is no such peer. */
MRL_API int mrl_peers_status(struct mrl_peers *peers, uint64_t peer);

/* Tell every peer of region, now or when it is RESTORED. id: the peers' name for it, chosen by the application.
 * Call it after mrl_reg_file(), and mrl_peers_withdraw() before mrl_dereg(): the library keeps the pointer.
 * EEXIST: the region, or the id, is offered already. EKEYREVOKED: the region is fenced. */
MRL_API int mrl_peers_offer(struct mrl_peers *peers, struct mrl_region *region, uint64_t id);
/* Let the peers finish, and tell them that the region is gone: their mrl_peer_enter() is EKEYREVOKED then. Waits at most
 * timeout_ms; who has not answered by then is cut (0: at once). Afterwards nobody posts to it. ENOENT: it is not offered. */
MRL_API int mrl_peers_withdraw(struct mrl_peers *peers, struct mrl_region *region, uint32_t timeout_ms);
/* Hold the peers for a reason of the application's own: before mrl_reattach(), say, or mrl_extend() of a direct or cooperative odp
 * region. Waits as mrl_peers_withdraw() does, and peers are held until mrl_peers_release(), which tells them the keys and the
 * size of then (also where RESTORED came meanwhile). A break may come meanwhile. ENOENT: it is not offered; EALREADY: it is held. */
MRL_API int mrl_peers_hold(struct mrl_peers *peers, struct mrl_region *region, uint32_t timeout_ms);
/* EINVAL: it is not held. */
MRL_API int mrl_peers_release(struct mrl_peers *peers, struct mrl_region *region);

/*
 * Call it in the mrl_callback, for every event, and return what it returns: EINPROGRESS for a RECALL of a region that is offered;
 * the library calls mrl_complied() itself, when all peers have answered, or after three quarters of the event's deadline_ms, when
 * the rest are cut. Else 0. RESTORED, TRIMMED and FENCED are told to the peers. Does not wait.
 * Where the application has more to do for a RECALL (its own threads, say) it does that first, or uses mrl_enter().
 * EINVAL: event is NULL or has no struct_size.
 */
MRL_API int mrl_peers_event(struct mrl_peers *peers, const struct mrl_event *event);

struct mrl_peers_info {
  size_t struct_size;
  uint64_t peers;        /* that are there now */
  uint64_t holds;        /* counted: how often peers were asked to hold, for a RECALL or by the application */
  uint64_t cut;          /* counted: peers that were cut */
  uint64_t hold_us_max;  /* the longest that all of them took to answer, cut ones included */
};
MRL_API int mrl_peers_get_info(struct mrl_peers *peers, struct mrl_peers_info *info);

/* ---- the peer ---- */

/* Listen to one owner. control may still be unconnected (state INIT): before rdma_connect() is best, since receives are posted at
 * once. Errors of mrl_peers_add(). The caller owns *peer and ends it with mrl_peer_destroy(). */
MRL_API int mrl_peer_create(struct ibv_qp *control, struct mrl_peer **peer);
/* Tell the owner that this peer posts no more (waits at most 1 s until that has arrived) and end the thread. Nobody may be between
 * mrl_peer_enter() and mrl_peer_leave(), or call with peer any more. */
MRL_API int mrl_peer_destroy(struct mrl_peer *peer);

struct mrl_target {
  size_t struct_size;
  uint64_t address, length; /* the region, for wr.rdma.remote_addr */
  uint64_t size;            /* bytes of it, from address, that are on the file: stay below. Behind it direct is an error, and
                               other backings drop what is written */
  uint32_t rkey;
  uint64_t generation;      /* counts the changes of keys */
};
/*
 * The posting guard: operations on the region are posted, and COMPLETE, between enter and leave; everything inside uses this
 * target. While the owner holds the region, or has not offered it yet, enter waits, at most timeout_ms (0: not at all). The owner
 * waits for the leave: be inside for one batch of operations, not for long. A thread that is inside must not wait in enter for the
 * same region: take timeout_ms 0 there, and on EAGAIN leave first.
 * Less than a microsecond when nothing happens. region: the owner's id.
 *   EAGAIN       held or not offered, and timeout_ms was 0
 *   ETIMEDOUT    still so after timeout_ms
 *   EKEYREVOKED  withdrawn or fenced; it may be offered again
 *   ENOTCONN     the control connection is lost: nobody tells of recalls any more, do not post
 *   EPROTO       the owner sent what the protocol does not have; the connection is ended
 *   EINVAL       target is NULL or has no struct_size
 * After an error nobody is inside.
 */
MRL_API int mrl_peer_enter(struct mrl_peer *peer, uint64_t region, struct mrl_target *target, uint32_t timeout_ms);
/* Once for each enter that returned 0, from any thread. EINVAL: nobody is inside. */
MRL_API int mrl_peer_leave(struct mrl_peer *peer, uint64_t region);

#ifdef __cplusplus
}
#endif
#endif
