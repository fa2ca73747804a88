/* SPDX-License-Identifier: Apache-2.0
 *
 * The recall protocol with a restart: two clients with a direct lease each, one foreign truncate of all their pages, one crash
 * anywhere (the daemon is killed, or a client is), and a client may hang besides. check.py has spin look at every interleaving.
 *
 *   P1: while the truncate runs, no device reaches the pages (the assertion in Foreign).
 *   P2: it runs, and ends, whoever hangs or dies (ltl p2, with weak fairness).
 *   No deadlock: nobody is left waiting in an invalid end state.
 *
 * Each step names what it stands for. Time is left out: a deadline may pass whenever its client has not answered, which is more
 * than the daemon does. What a killed daemon leaves behind is what the kernel, systemd and the kept memfds have (daemon/keep):
 * the held event, the clients' connections, the leases, the memory regions that are known, and the journal of what is held.
 *
 * Mistakes for check.py, each of which spin must find: ANSWER_FIRST, FORGET_ONE, RESTORE_EARLY, LEAVING_IS_GONE,
 * NO_DUPLICATE_IS_GONE, KILLED_LETS_GO, SUCCESSOR_ALLOWS, SUCCESSOR_FORGETS, NO_DEADLINE.
 */
#define N 2

mtype = { idle, held, runs, over };             /* the operation, as the kernel has it */
mtype = { nothing, asking, answering };  /* the journal's word on it (daemon/guard/journal.cc) */
mtype = { recall, resume, restore };            /* to a client */

mtype operation = idle, journal = nothing;

/* The kernel: does the device reach the pages through this client's memory region? */
bool reaches[N] = true;
bool dead[N], hangs[N];

/* Kept: which memory regions the daemon knows, which leases are out of the way, and which are fenced. */
bool known[N] = true, leaving[N], fenced[N];

/* The daemon that is there, and what it has in its own memory only. */
byte incarnation = 0;
bool kill_it = false, handed_over[N] = true;  /* handed_over: it has a duplicate of the uverbs descriptor */

/* Connections outlive the daemon: systemd has them. */
chan to_client[N] = [3] of { mtype, byte };
chan answers = [2] of { byte, byte };          /* complied: client, incarnation that asked */
chan removed[N] = [1] of { bit };              /* RemoveMr, and its acknowledgement */
chan acked[N] = [1] of { bit };
chan devices = [2] of { byte, byte };          /* AddDevice after Resume */
chan added[N] = [1] of { bit };                /* AddMr */

byte crashes = 0;

/* ---- a client: client-lib/src/region ---- */

#define up(me) (!dead[me] && !hangs[me])

proctype Client(byte me) {
  byte by;
  bit one;
end:
  do
  :: dead[me] -> break
  :: hangs[me] -> end_stopped: dead[me]                /* all that a stopped process can do is die */
  :: up(me) && nempty(to_client[me]) ->
     if
     :: to_client[me]?recall(by) ->                    /* backing/direct.cc: quiesce */
        if
        :: reaches[me] && !fenced[me] ->
           removed[me]!0;                              /* Region::drop_one: RemoveMr, and its acknowledgement, ... */
end_waits: if
           :: atomic { nempty(acked[me]) -> acked[me]?one }
           :: !up(me) || fenced[me] -> skip
           fi;
           if                                          /* ... then ibv_dereg_mr; a client may stop before it */
           :: atomic { up(me) && !fenced[me] -> reaches[me] = false }
           :: !up(me) || fenced[me] -> skip
           fi
        :: !reaches[me] || fenced[me] -> skip
        fi;
        if
        :: atomic { up(me) -> answers!me, by }
        :: !up(me) -> skip
        fi
     :: to_client[me]?resume(by) -> devices!me, by     /* the descriptors again */
     :: to_client[me]?restore(by) ->                   /* Region::make_mr: ibv_reg_mr, AddMr */
        if
        :: atomic { up(me) && !fenced[me] -> reaches[me] = true }; added[me]!0
        :: !up(me) || fenced[me] -> skip
        fi
     fi
  od
}

/* ---- the foreign operation: truncate(2), in the kernel ---- */

proctype Foreign() {
  operation = held;                    /* FAN_PRE_ACCESS; the group lives as long as systemd has it */
  operation == runs;
  assert(!reaches[0] && !reaches[1]);  /* P1, when it begins */
  assert(!reaches[0] && !reaches[1]);  /* and as long as it runs: whatever happens between these two */
  operation = over
}

/* ---- one crash anywhere, and a client that stops ---- */

proctype Crash() {
end:
  if
  :: crashes == 0 -> atomic { crashes++; kill_it = true }
  :: crashes == 0 -> atomic { crashes++; dead[0] = true }
  :: crashes == 0 -> atomic { crashes++; dead[1] = true }
  :: true -> skip
  fi
}

proctype Stop() {
end:
  if
  :: hangs[1] = true
  :: true -> skip
  fi
}

/* ---- the daemon ---- */

/* session/fencing.cc. By its handle, through the duplicate; a process whose region may be gone already, or whose descriptor we do
 * not have (yet), is killed, and the kernel takes all of it. */
inline fence(c) {
  atomic {
    if
#ifdef LEAVING_IS_GONE
    :: handed_over[c] && known[c] -> reaches[c] = false
    :: handed_over[c] && !known[c] -> skip
#else
    :: handed_over[c] && known[c] && !leaving[c] -> reaches[c] = false
    :: handed_over[c] && leaving[c] -> dead[c] = true; reaches[c] = false
    :: handed_over[c] && !known[c] && !leaving[c] -> skip
#endif
#ifdef NO_DUPLICATE_IS_GONE
    :: !handed_over[c] -> skip
#else
    :: !handed_over[c] -> dead[c] = true; reaches[c] = false
#endif
    fi;
    fenced[c] = true; known[c] = false; leaving[c] = false; waits[c] = false
  }
}

/* Everything that a client can say, and its death (its pidfd): session/requests.cc, Broker::session_closed. */
inline listen() {
  if
  :: removed[0]?one -> atomic { if :: !fenced[0] -> known[0] = false; leaving[0] = true; acked[0]!0 :: else -> skip fi }
  :: removed[1]?one -> atomic { if :: !fenced[1] -> known[1] = false; leaving[1] = true; acked[1]!0 :: else -> skip fi }
  :: added[0]?one -> known[0] = true
  :: added[1]?one -> known[1] = true
  :: devices?c, by -> atomic { if :: by == incarnation -> handed_over[c] = true :: else -> skip fi }
  :: answers?c, by ->
     atomic {
       if
       :: by != incarnation -> skip    /* of a recall that nobody here has sent */
       :: by == incarnation && known[c] && !fenced[c] -> fence(c)  /* says so, and its region is there: on_recall_done() */
       :: by == incarnation && (!known[c] || fenced[c]) -> leaving[c] = false; waits[c] = false
       fi
     }
  :: dead[0] && !fenced[0] -> atomic { reaches[0] = false; fenced[0] = true; known[0] = false; waits[0] = false }
  :: dead[1] && !fenced[1] -> atomic { reaches[1] = false; fenced[1] = true; known[1] = false; waits[1] = false }
  fi
}

proctype Daemon() {
  bool waits[N];
  byte c, by;
  bit one;
again:
  {
    /* A predecessor's journal: session/adopt.cc, guard/heritage.cc. An operation that was allowed and may still run is waited for. */
    if
    :: incarnation > 0 && journal == answering && operation != held -> goto passing
#ifdef SUCCESSOR_FORGETS
    :: incarnation > 0 && journal != nothing && operation == held -> end_forgets: false
#endif
#ifdef SUCCESSOR_ALLOWS
    :: incarnation > 0 && operation == held -> operation = runs; goto passing
#endif
    :: else -> skip                    /* what was read and not answered is judged anew, and held */
    fi;
end_idle:
    do
    :: operation == held -> break
    :: listen()
    od;
    journal = asking;                  /* noted before anything is decided */
#ifdef ANSWER_FIRST
    operation = runs;
#endif
    /* core/plan.cc: every lease that the truncate touches */
    waits[0] = !fenced[0];
#ifdef FORGET_ONE
    waits[1] = !fenced[1] && incarnation == 0;
#else
    waits[1] = !fenced[1];
#endif
    if :: waits[0] -> to_client[0]!recall(incarnation) :: else -> skip fi;
    if :: waits[1] -> to_client[1]!recall(incarnation) :: else -> skip fi;
    do                                 /* core/complying.cc */
    :: !waits[0] && !waits[1] -> break
    :: listen()
#ifndef NO_DEADLINE
    :: waits[0] -> fence(0)            /* core/fencing.cc: the deadline has passed */
    :: waits[1] -> fence(1)
#endif
    od;
    journal = answering;
#ifndef ANSWER_FIRST
    operation = runs;                  /* FAN_ALLOW */
#endif
passing:
    do                                 /* core/passing.cc: until it has left */
#ifdef RESTORE_EARLY
    :: operation == runs || operation == over -> break
#else
    :: operation == over -> break
#endif
    :: listen()
    od;
    if :: !fenced[0] -> to_client[0]!restore(incarnation) :: else -> skip fi;
    if :: !fenced[1] -> to_client[1]!restore(incarnation) :: else -> skip fi;
    journal = nothing;
end_over:
    do
    :: listen()
    od
  } unless {
    /* kill -9. Its duplicates go with it, and with them what dead clients had; the office's successor starts. */
    atomic {
      kill_it;
      kill_it = false;
      incarnation++;
      handed_over[0] = false; handed_over[1] = false;
      waits[0] = false; waits[1] = false;
#ifdef KILLED_LETS_GO
      if :: operation == held -> operation = runs :: else -> skip fi;
#endif
      if :: dead[0] -> reaches[0] = false; fenced[0] = true :: else -> skip fi;
      if :: dead[1] -> reaches[1] = false; fenced[1] = true :: else -> skip fi;
      to_client[0]!resume(incarnation); to_client[1]!resume(incarnation)
    }
    goto again
  }
}

init {
  atomic { run Daemon(); run Client(0); run Client(1); run Foreign(); run Crash(); run Stop() }
}

ltl p2 { <> (operation == over) }
