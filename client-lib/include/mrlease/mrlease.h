/* SPDX-License-Identifier: Apache-2.0
 *
 * libmrlease: RDMA memory registrations over files, as leases.
 *
 * A LEASE covers a byte RANGE of a FILE with an ACCESS (read, write) and a BACKING (direct, odp, bounce). When somebody
 * truncates the file, wants it durable or wants a stable copy, the daemon mrleased BREAKS the lease: a RECALL asks this
 * library to comply by a DEADLINE; who does not is FENCED: its memory regions are destroyed by force.
 *
 * Errors: every call that can fail returns 0 or a positive errno value; mrl_last_error() gives the sentence that says
 * what was wrong and what to do. A call that fails has changed nothing, unless its text says otherwise.
 * Threads: every call may be made from any thread at any time, but one region must not be used by one thread while
 * another thread passes it to mrl_dereg(). Callbacks run with no lock of the library held and may call the library.
 * Units: offsets and lengths are bytes, times are milliseconds.
 */
#ifndef MRLEASE_H
#define MRLEASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ibv_pd;
struct ibv_mr;
struct ibv_context;
struct mrl_ctx;     /* a connection to mrleased, with the library's threads */
struct mrl_region;  /* a leased, registered range of a file */
struct mrl_freeze;  /* a hold that this process has asked for on a file */

#if defined(__GNUC__)
#define MRL_API __attribute__((visibility("default")))
#else
#define MRL_API
#endif

#define MRL_DEFAULT_SOCKET "/run/mrlease/mrleased.sock"

enum mrl_backing {
  MRL_BACKING_AUTO = 0,            /* the probe decides: odp where the device passes its self-test, else bounce */
  MRL_BACKING_DIRECT = 1,          /* the file's own pages, pinned; only where the kernel allows it */
  MRL_BACKING_ODP = 2,             /* the file's own pages, on demand; transparent where possible, else cooperative */
  MRL_BACKING_ODP_COOPERATIVE = 3, /* odp that never uses userfaultfd: what is written under a freeze is lost if the client dies */
  MRL_BACKING_BOUNCE = 4           /* pages of their own; the daemon writes them to the file */
};

enum mrl_reason {
  MRL_REASON_UNKNOWN = 0, MRL_REASON_TRUNCATE = 1, MRL_REASON_DESTRUCTIVE = 2, MRL_REASON_WRITE = 3,
  MRL_REASON_READ = 4, MRL_REASON_SYNC = 5, MRL_REASON_FREEZE = 6, MRL_REASON_REVOKE = 7
};

enum mrl_event_type {
  /* Stop local and remote operations on [offset, offset + length) of the file and wait for those in flight. Comes only
   * to direct and cooperative odp leases, and for a revoke. Return 0 when that is done, or EINPROGRESS and call
   * mrl_complied() later. After it the keys may be dead: wait for RESTORED. */
  MRL_EVENT_RECALL = 1,
  /* The region is usable again, with these keys (unchanged for odp and bounce). size: bytes of the region that are on
   * the file; of a direct region the memory region ends there, and an operation beyond it fails. */
  MRL_EVENT_RESTORED = 2,
  /* The file ends inside the region now: what lies beyond size bytes of the region is off the file, until mrl_extend(). */
  MRL_EVENT_TRIMMED = 3,
  /* The lease is lost and its memory regions are destroyed; remote operations fail. Register again when you like, after
   * mrl_dereg(). Where the file could not be written at a thaw (a full disk; the message says so), what peers had written to
   * the frozen range of an odp or direct lease is in the mapping until then: save it elsewhere. */
  MRL_EVENT_FENCED = 4,
  /* The daemon is gone: leases are not protected until RECONNECTED. Remote operations go on; frozen ranges are merged into
   * the file and go on there; calls that need the daemon fail with ENOTCONN. The library looks for another daemon at the
   * same socket until mrl_close(), every 2 s at the longest. */
  MRL_EVENT_DISCONNECTED = 5,
  /* Another daemon has every lease again, with the same keys, but for those that were told FENCED meanwhile: their ranges
   * were given to somebody else, say. TRIMMED: the file was cut. Where the application must be quiet for a moment (a direct
   * region of a file that was cut, or one that was frozen) it is asked by a RECALL, and RESTORED follows. What others wrote
   * to a file meanwhile under bounce pages is written over where the two differ. Freezes of this client have ended. */
  MRL_EVENT_RECONNECTED = 6
};

struct mrl_event {
  size_t struct_size;        /* sizeof(struct mrl_event) as the library knows it */
  enum mrl_event_type type;
  struct mrl_region *region; /* NULL for DISCONNECTED and RECONNECTED */
  uint64_t recall;           /* RECALL: for mrl_complied() */
  enum mrl_reason reason;
  uint64_t offset, length;   /* of the file */
  uint32_t deadline_ms;      /* RECALL: from now */
  uint64_t size;             /* RESTORED, TRIMMED: bytes of the region, from its start, that are on the file */
  enum mrl_backing backing;  /* RESTORED */
  uint32_t lkey, rkey;       /* RESTORED */
  uint64_t generation;       /* counts the changes of keys: 1 after mrl_reg_file() */
  const char *message;       /* for people; valid during the callback */
};

/* Returns 0, or EINPROGRESS for a RECALL that mrl_complied() will answer. */
typedef int (*mrl_callback)(const struct mrl_event *event, void *user);

enum mrl_open_flags {
  MRL_OPEN_OWN_LOOP = 1 /* no callback thread: the application polls mrl_get_fd() and calls mrl_dispatch() */
};

struct mrl_open_options {
  size_t struct_size;      /* sizeof(struct mrl_open_options) */
  const char *socket_path; /* NULL: $MRLEASE_SOCKET, else MRL_DEFAULT_SOCKET */
  uint32_t flags;
  mrl_callback callback;   /* NULL: no events are delivered; a RECALL is then answered when mrl_leave() has drained */
  void *user;
};

/* Connect to the daemon and start the library's private threads. options may be NULL. The caller owns *ctx and ends it
 * with mrl_close(). ENOENT, ECONNREFUSED: no daemon; EPROTO: the versions do not meet; EACCES. */
MRL_API int mrl_open(const struct mrl_open_options *options, struct mrl_ctx **ctx);
/* Deregister what is still registered, thaw what is still frozen, end the threads. Not from a callback (EDEADLK). EBUSY: a region
 * cannot be deregistered (mrl_dereg()); the others are, and ctx is still open. */
MRL_API int mrl_close(struct mrl_ctx *ctx);
/* The calling thread's last error, a sentence; never NULL, valid until the thread's next call. */
MRL_API const char *mrl_last_error(void);

/* Own loop: readable when an event waits. Owned by ctx. */
MRL_API int mrl_get_fd(struct mrl_ctx *ctx);
/* Own loop: deliver the events that wait, without blocking; returns 0. */
MRL_API int mrl_dispatch(struct mrl_ctx *ctx);

enum mrl_quirk {
  /* The device's ODP passes the self-test for page-aligned transfers only (rdma_rxe up to 7.3.4 puts others at the
   * page's start). By setting this the application promises page-aligned transfers of whole pages, in packets that fit
   * a page (path MTU 4096). */
  MRL_QUIRK_ODP_PAGE_ALIGNED = 1
};

enum mrl_reg_flags {
  MRL_REG_SHARE = 1,           /* overlap with write leases of others is wanted. Each holder has pages of its own while it
                                  is frozen or trimmed, and always under bounce; they are merged whole. So holders must
                                  not write into the same page then: the last merge of a page wins */
  /* Keep in memory what a truncate cuts off: odp only, and as much as can be copied in half of the recall's deadline. It is in
   * the mapping, beyond mrl_info's size: read it, save it elsewhere, or put it back with mrl_reattach(). The page in which the file
   * ends is the file's: what it had beyond the end is zeros. */
  MRL_REG_PRESERVE_ORPHANS = 2
};

struct mrl_reg_options {
  size_t struct_size;       /* sizeof(struct mrl_reg_options) */
  enum mrl_backing backing; /* default AUTO */
  uint32_t accept_quirks;   /* enum mrl_quirk, or-ed */
  uint32_t flags;           /* enum mrl_reg_flags */
  uint32_t peer_budget_ms;  /* the longest stall the remote peer survives; 0: 200. A transparent thaw that would stall it
                               longer asks for quiet first (MRL_EVENT_RECALL), and RESTORED follows */
  uint64_t orphan_bytes_max; /* with PRESERVE_ORPHANS: bytes of the file that are kept of one cut, from the new end on, in whole pages
                                (4096 at least); 0: no limit. What peers write beyond the end is kept all the same */
  uint32_t orphan_keep_ms;   /* with PRESERVE_ORPHANS: milliseconds after a cut when what it has left is discarded; 0: not before
                                mrl_extend() or mrl_dereg() */
  uint32_t reserved;         /* 0 */
};

/*
 * Lease [offset, offset + length) of fd's file, map it and register the mapping in pd.
 * access: IBV_ACCESS_*; any write access needs fd open for reading and writing; read access needs it open for reading.
 * options may be NULL. fd stays the caller's and may be closed afterwards.
 * The caller owns *region and ends it with mrl_dereg().
 *   EINVAL   length is 0, offset or access is malformed, offset is not page-aligned, O_APPEND
 *   ERANGE   the range reaches beyond the end of the file
 *   EISDIR, ENOTSUP  not a regular file, or a file system or device that cannot back the lease asked for
 *   EBADF    fd is not open
 *   EACCES   fd is not open in the mode that the access needs; or a rule of the administrator allows no such lease
 *   EBUSY    overlaps another's write lease, and MRL_REG_SHARE was not set by both
 *   ENODEV   the device of pd is closed or gone
 *   EOPNOTSUPP the backing asked for does not work on this kernel and device, or a rule of the administrator wants another; the
 *            message says what was tried
 *   ENOMEM, EMFILE, ENOSPC, EDQUOT  limits
 */
MRL_API int mrl_reg_file(struct mrl_ctx *ctx, struct ibv_pd *pd, int fd, uint64_t offset, size_t length, int access,
                         const struct mrl_reg_options *options, struct mrl_region **region);
/*
 * The same for a mapping that the application has: [addr, addr + length) of a MAP_SHARED mapping of a file, which is opened
 * again by its name; where that does not lead to it (out of reach, mounted over, another mount namespace's), the daemon names it.
 * The region begins at the page of addr: mrl_addr() is addr, rounded down to it. A mapping that can be written takes a lease for
 * writing, whatever the access.
 * Until mrl_dereg() the library decides what is mapped there, always with the file's bytes: do not unmap or remap it, and
 * store nothing there during this call and mrl_dereg(). A forked child does not have it. Afterwards, and when this call fails,
 * the file is mapped there as before.
 * What is registered already, by any of the two calls, is not registered again: the region that covers the range is returned once more,
 * whatever its mrl_addr(), and it takes as many mrl_dereg() as there were registrations. That costs no lock and no system call.
 * Errors of mrl_reg_file(), and:
 *   EBUSY    it is registered already, in another protection domain, with less access, or with another backing
 *   EKEYREVOKED, ERANGE  it is registered already, and fenced; or cut off, until mrl_extend()
 *   EFAULT   a part of the range is not mapped, or not readable
 *   ENOTSUP  a part is not a shared mapping of a file: ibv_reg_mr() is right for it
 *   EACCES   the access has writes, and it is not mapped for writing; or the file may not be opened again
 *   EINVAL   the range is of several mappings of different files or places
 *   ENOENT   the file has no name any more, a memfd's included: use mrl_reg_file()
 *   ESTALE   another file has the name, and the daemon cannot name the one that is mapped
 */
MRL_API int mrl_reg_mr(struct mrl_ctx *ctx, struct ibv_pd *pd, void *addr, size_t length, int access,
                       const struct mrl_reg_options *options, struct mrl_region **region);
/* Deregister, hand back the lease: on return what RDMA wrote is in the file (not yet durable: mrl_sync()). The region is
 * gone even when an error is returned (EIO, ENOSPC: bounce data could not be written). Not from a callback. Of a region that
 * was returned several times only the last call does this; the others return 0 at once.
 * EBUSY: the kernel refuses, since a memory window is bound to a memory region. The lease holds, and the region is as it was (of
 * several memory regions, those before that one are gone): ibv_dealloc_mw() the window, and call this again. */
MRL_API int mrl_dereg(struct mrl_region *region);

MRL_API void *mrl_addr(const struct mrl_region *region);       /* the mapping, stable for the region's life */
MRL_API size_t mrl_length(const struct mrl_region *region);
MRL_API uint32_t mrl_lkey(const struct mrl_region *region);    /* of the current generation */
MRL_API uint32_t mrl_rkey(const struct mrl_region *region);
MRL_API struct ibv_mr *mrl_mr(const struct mrl_region *region); /* NULL while recalled or fenced; owned by the region */

/*
 * One more memory region over the same lease: in another protection domain, of the same device or another, or with another access.
 * It is the region's, recalled, restored and fenced with it, and ends with mrl_dereg(). *index counts them: 1 for the first
 * that is added. pd must live as long.
 *   EINVAL     access is malformed
 *   EACCES     the access has writes, and the lease is for reading
 *   EAGAIN     the region is recalled: wait for RESTORED
 *   EKEYREVOKED  the region is fenced
 *   ENODEV     the device of pd is closed or gone
 *   EOPNOTSUPP the region's backing does not work on that device; the message says what was tried
 *   ENOMEM, EMFILE  limits
 */
MRL_API int mrl_add_mr(struct mrl_region *region, struct ibv_pd *pd, int access, unsigned *index);
/* The memory region of that index; 0 is mrl_mr(). NULL: no such one, or the region is recalled or fenced. After RESTORED of a direct
 * lease it is another, with other keys. Owned by the region. */
MRL_API struct ibv_mr *mrl_mr_at(const struct mrl_region *region, unsigned index);

struct mrl_info {
  size_t struct_size;
  enum mrl_backing backing;
  int transparent;          /* odp: 1 where a break costs the peer a pause at most */
  int fenced;
  uint64_t size;            /* bytes of the region that are on the file */
  uint64_t generation;
  uint64_t recalls, freezes, pages_merged, stall_us_max; /* counted since registration; stall: the longest gate at thaw */
  char backing_reason[200]; /* why this backing: what the probe found */
  char guard[24];           /* precontent, lease, seal, observe, none */
  char coverage[200];       /* what is held, what is only observed */
  /* Counted since registration, in bytes: cut off from the region by truncates; held in memory at the end of a cut (in whole pages:
   * what was preserved, and what peers had written); discarded by mrl_extend(), or when its time was over; put back by mrl_reattach().
   * What peers write there later counts with the last two. */
  uint64_t bytes_cut_off, orphan_bytes_kept, orphan_bytes_discarded, orphan_bytes_reattached;
};
MRL_API int mrl_get_info(const struct mrl_region *region, struct mrl_info *info);

/* What RDMA wrote before this call is on the disk when it returns 0. [offset, offset + length) of the file; length 0: to
 * the end of the region. After an error nothing is given up: call it again.
 *   EIO, ENOSPC, EDQUOT, EROFS  the disk's answer; the message says to what
 *   EBUSY        an operation of somebody on the file does not end; or policy denies what a client is late for
 *   ETIMEDOUT    a client of the file has not answered in time, or the disk has not: not all may be on it
 *   EKEYREVOKED  the region is fenced
 */
MRL_API int mrl_sync(struct mrl_region *region, uint64_t offset, uint64_t length);
/* The file has grown again: put the cut-off part of the region back on the file, up to its end. What was written there
 * meanwhile is discarded. *size (may be NULL): bytes of the region on the file now. */
MRL_API int mrl_extend(struct mrl_region *region, uint64_t *size);
/* The same, and what the cut-off part holds in memory (MRL_REG_PRESERVE_ORPHANS, and what peers have written there) goes into the
 * file, over what others have put there meanwhile. A page is held as a whole, also one of which nothing was kept and that was only
 * read since: it is zeros. Pages that are not held are the file's; of the page in which the file ends now, what lies beyond the end
 * is dropped. Nobody may store to the part during this call: hold the peers before (mrl_peers_hold()). It waits for freezes of the
 * range. Not from a callback. On direct and bounce leases, and on those for reading, it is mrl_extend().
 *   EAGAIN       the region was recalled meanwhile, or the file is shorter again: mrl_info's size is on the file. Call again
 *   EDEADLK      called from a callback
 *   ENOSPC, EDQUOT, EIO  the file could not be written: the rest is kept as before
 *   EOPNOTSUPP   the daemon is older than the library; nothing has changed
 *   EKEYREVOKED, ENOTCONN  as mrl_extend(); the rest is kept as before
 */
MRL_API int mrl_reattach(struct mrl_region *region, uint64_t *size);
/* Answer a RECALL for which the callback returned EINPROGRESS. EINVAL: no such recall (or its deadline has passed). */
MRL_API int mrl_complied(struct mrl_region *region, uint64_t recall);

/* The posting guard: local operations between enter and leave hold up a recall. mrl_enter: 0, or EAGAIN while the region
 * is recalled (wait for RESTORED), or EKEYREVOKED when fenced. Nanoseconds when nothing happens. */
MRL_API int mrl_enter(struct mrl_region *region);
MRL_API void mrl_leave(struct mrl_region *region);

/* ---- for anybody with a descriptor of the file: no region is needed ---- */
/* Every lease's data in the range durable, of any process; errors as mrl_sync(). length 0: to the end. */
MRL_API int mrl_file_sync(struct mrl_ctx *ctx, int fd, uint64_t offset, uint64_t length);
/* The range of the file stands still until mrl_thaw(), or hold_ms has passed, or this process ends. fd must be open for
 * writing. A write(2) of somebody else's that had begun before may still end within it. Copy it with read(2): a read that io_uring gives to a
 * worker waits for the thaw, as nobody can tell it from what truncates. *unsettled (may be NULL): pages of
 * bounce leases that were being written all the while and may be torn.
 * ENOSPC, EIO and others of write(2): what was written into bounce pages could not be put into the file; ETIMEDOUT: not in time. Nothing
 * stands still then. The caller owns *freeze and ends it with mrl_thaw(). */
MRL_API int mrl_file_freeze(struct mrl_ctx *ctx, int fd, uint64_t offset, uint64_t length, uint32_t hold_ms,
                            struct mrl_freeze **freeze, uint64_t *unsettled);
/* ETIMEDOUT: it was over before, and the file may have changed since: the hold had passed, or what peers wrote under it took more memory
 * than the daemon's frozen-bytes-max; the message says which. freeze is gone in any case. */
MRL_API int mrl_thaw(struct mrl_freeze *freeze);
/* mrl_file_sync() while the range stands still, for hold_ms at most: where a device changes a page that is just being written out, what the file
 * system has summed or mirrored of it (btrfs, a RAID) is not what is on the disk. The file is frozen, synced by fsync(2) as a whole, and
 * thawed; what peers write meanwhile is not durable. Errors of mrl_file_freeze() and fsync(2), and those of mrl_thaw() but for ETIMEDOUT:
 *   EAGAIN   it is durable, but the range may not have stood still until then; the message says why
 */
MRL_API int mrl_file_sync_stable(struct mrl_ctx *ctx, int fd, uint64_t offset, uint64_t length, uint32_t hold_ms);

/* ---- what this kernel and device can do, found by doing ---- */
struct mrl_caps {
  size_t struct_size;
  int odp;              /* 1: any transfer is right; 2: page-aligned transfers only (MRL_QUIRK_ODP_PAGE_ALIGNED); 0: no */
  int odp_waits;        /* a device fault waits in userfaultfd: transparent freezes */
  int userfaultfd;      /* this process may use userfaultfd for device faults */
  int direct_ext;       /* 1: a file mapping of the file given can be pinned for writing */
  char reason[400];     /* what was tried and what came back */
};
/* fd: a file to try on, or -1. Uses a loopback connection on the device; takes some milliseconds; cached per device
 * and ctx, unless no connection could be made (a port that is down). */
MRL_API int mrl_probe(struct mrl_ctx *ctx, struct ibv_context *device, int fd, struct mrl_caps *caps);
MRL_API const char *mrl_backing_name(enum mrl_backing backing);

#ifdef __cplusplus
}
#endif
#endif
