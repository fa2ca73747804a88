/* SPDX-License-Identifier: Apache-2.0
 *
 * The recall protocol with a restart, for spin: two clients with a direct lease on the same range of one file, one foreign
 * truncate, one crash anywhere. Every statement is one atomic step of the program; behind "<-" is the function it stands for.
 *
 *   P1        the assertion in Foreign: while the truncate is inside, no client's device reaches the pages
 *   P2        ltl p2: an operation that is held is answered (every execution of the model ends, so it holds without any
 *             fairness); and the assertion on rounds: it waits for the deadlines of its own break, after a restart of that
 *             again, and of what the predecessor had begun
 *   deadlock  Settled: when nothing can happen any more, everything is over, and nobody has lost anything
 *
 * The crash is one of: the daemon is killed (the service manager keeps descriptors and state, a successor takes over), a
 * client is killed, a client hangs. Time is not modelled: a deadline may pass at any moment, so "slow" is covered too, with
 * and without a crash.
 *
 * Not in the model, each with the place where it is tested: a kernel that hangs in a fence (Fence::Overrun: it is said that
 * the device may still reach; tests/unit/core/fence_test.cc); policy deny (deny_test.cc); a daemon that goes for good, where
 * nothing is protected until clients reclaim (reconnect_test.cc, the rig); operations of tasks that cannot be looked at, nor
 * the file told: they are taken to be over within kUnseenBound (daemon/guard/event_desk.cc), and the model takes that for granted.
 *
 * Mistakes can be planted by -D; check.py --self-test wants each found:
 *   ANSWER_BEFORE_ACK  NOT_RECALLED_ALL  RESTORE_TOO_EARLY  FENCE_UNFINISHED  FENCE_HANDED_BACK  FENCE_BLIND
 *   GONE_FIRST  FORGET_ONE  SUCCESSOR_ANSWERS  SUCCESSOR_RESTORES  NOT_JOURNALED  LATE_MARK  READ_FORGOTTEN  SAME_NUMBERS
 *   NOTED_TOO_LATE  NO_DEADLINE  NOT_ASKED_AGAIN
 *
 * To keep the states few: clients are alike, so the one that crashes or is late is number 0, and number 1 answers in time;
 * what is over is set back to what it was at first.
 */

#define N 2

mtype = { Away, Held, Inside, Over };                       /* the truncate */
mtype = { Nothing, Queued, Taken, Answered };               /* its event in the kernel */
mtype = { Free, Orphan, Answering };                        /* its place in the journal: guard::HeldRecord */
mtype = { Idle, Complying, Passes, Marks, Responds, Forgets, Passing, Restoring };  /* core::Phase; the answer in its steps */
mtype = { Truncate, Revoke, Resumption };                   /* which break it is */
mtype = { Out, Begin, Noted, Recalled, Fenced, Complied };  /* core::Step of each lease's part */
mtype = { Whole, Ordered, Forced, Retired };                /* core::Fence; Forced: the kernel has done it, nobody knows yet */
mtype = { Open, Closing, Closed, Gone };                    /* a session */
mtype = { Rest, WaitRemove, Removed, WaitAdd };             /* what a client is doing */
mtype = { Quiesce, Reregister, Release };                   /* recalls */
mtype = { RemoveMr, AddMr, Done, Resumed };                 /* from a client */
mtype = { None, Ok, No, Resume, Restart };                      /* to a client, beside the recalls; Restart: ERESTART */

/* ---- what the kernel and the devices do */
mtype op = Away;
mtype event = Nothing;
bool alive[N] = true, hung[N];
bool mr[N] = true;         /* the memory region is there */
bool keyed[N] = true;      /* and somebody has its keys */
bool duplicate[N] = true;  /* the daemon has the client's uverbs descriptor */
#define REACHES(i) (mr[i] && keyed[i])
#define GO(i) (alive[i] && !hung[i])

/* ---- what the service manager keeps: keep/records.h, guard/journal.h */
byte life = 1;  /* keep::State::Head::starts, and the upper half of a recall's number */
bool k_lease[N] = true, k_quiesced[N], k_fenced[N];
bool k_mr[N] = true;  /* MrRecord */
bool k_handed_back[N];    /* LeaseRecord::handed_back */
mtype j_held = Free;
bool j_reading, j_got, j_passing;  /* j_got: the event is in the buffer of the read */

/* ---- sockets, which outlive the daemon too */
chan recall[N] = [4] of { mtype, byte };
chan reply[N] = [4] of { mtype };
chan from_client[N] = [4] of { mtype, mtype, byte };

/* ---- the daemon's own memory */
bool up = true, serving = true, begun = true;
byte starting;                     /* how far a successor has got */
byte reading;
bool asked, changing;
mtype phase = Idle, cause = Truncate;
mtype part[N] = Out, action[N] = Quiesce, fence[N] = Whole, session[N] = Open;
bool lease[N] = true;              /* in the arbiter's table */
bool seen[N], resuming[N];
mtype answer[N] = None;            /* to the last request, on its way out */
byte rounds, crashed;

inline kill_client(i) {
  alive[i] = false;
  if :: !duplicate[i] -> mr[i] = false :: else fi  /* the kernel destroys it with the last descriptor */
}
inline drop_duplicate(i) {  /* <- Broker::drop_descriptors */
  duplicate[i] = false;
  if :: !alive[i] -> mr[i] = false :: else fi
}
inline begin_round() { if :: op == Held -> rounds++ :: else fi }
inline respond() {  /* <- event_desk.cc respond(): ENOENT when it was answered before */
  if :: event == Taken -> event = Answered; op = Inside :: else fi
}

#define ALL_OUT ((part[0] == Out || part[0] == Complied) && (part[1] == Out || part[1] == Complied))

/* ---- the foreign truncate */
proctype Foreign() {
  atomic { op = Held; event = Queued }
  atomic {
    op == Inside;
    assert(!REACHES(0) && !REACHES(1));  /* P1: pages are removed at any moment while it is inside */
  }
  op = Over
}

/* ---- a client: client-lib/src/region, one recall after the other */
inline send(i, what, which, number) { from_client[i]!what, which, number }
inline register(i) { mr[i] = true; keyed[i] = false; send(i, AddMr, 0, 0); doing = WaitAdd }
inline rest() { doing = Rest; job = Quiesce; number = 0 }
inline complied(i) { send(i, Done, job, number); rest() }

proctype Client(byte i) {
  mtype doing = Rest, job = Quiesce, what;
  byte number;
end:
  do
  :: atomic { GO(i) && doing == Rest && recall[i]?[job, number] -> recall[i]?job, number;  /* <- Region::serve */
      if
      :: mr[i] -> send(i, RemoveMr, 0, 0); doing = WaitRemove  /* <- Region::drop_one */
      :: !mr[i] && job == Reregister -> register(i)            /* <- Direct::register_again */
      :: else -> complied(i)
      fi }
  :: atomic { GO(i) && doing == Removed -> mr[i] = false; keyed[i] = false;  /* <- ibv_dereg_mr, once the daemon has said yes */
      if
      :: job == Reregister -> register(i)
      :: else -> complied(i)
      fi }
  :: atomic { GO(i) && reply[i]?[what] -> reply[i]?what;  /* <- Connection::Impl::take */
      if
      :: what == Ok && doing == WaitRemove -> doing = Removed
      :: what == Ok && doing == WaitAdd -> keyed[i] = true; complied(i)  /* <- Region::make_mr: keys are given out now */
      :: what == No && doing == WaitRemove -> rest()                       /* EKEYREVOKED: it is the daemon's */
      :: what == No && doing == WaitAdd -> mr[i] = false; rest()           /* <- Region::register_one */
      :: what == Resume -> send(i, Resumed, 0, (doing == WaitRemove || doing == WaitAdd))  /* <- Connection::Impl::resume */
      :: what == Restart && doing == WaitRemove -> send(i, RemoveMr, 0, 0)  /* <- Connection::call */
      :: what == Restart && doing == WaitAdd -> send(i, AddMr, 0, 0)
      fi;
      what = 0 }
  :: atomic { !alive[i] && doing != Rest -> rest() }
  :: !alive[i] && nempty(recall[i]) -> recall[i]?_, _
  :: !alive[i] && nempty(reply[i]) -> reply[i]?_
  od
}

/* ---- the daemon, whichever it is */
#define READY (up && serving)

/* The guard's thread reads an event: EventDesk::read */
proctype Guard() {
end:
  do
  :: atomic { up && begun && reading == 0 && event == Queued -> j_got = false; j_reading = true; reading = 1 }  /* <- Journal::begin_read */
  :: atomic { up && reading == 1 -> event = Taken; j_got = true; reading = 2 }  /* the kernel puts it there first */
#ifdef NOT_JOURNALED
  :: atomic { up && reading == 2 -> reading = 3 }
#else
  :: atomic { up && reading == 2 -> j_held = Orphan; reading = 3 }  /* <- Journal::was_read */
#endif
  :: atomic { up && reading == 3 -> j_reading = false; reading = 4 }  /* <- Journal::end_read */
  :: atomic { up && reading == 4 && serving -> reading = 0; asked = true }  /* <- EventDesk::take, then RequestBreak */
  od
}

inline idle() { phase = Idle; cause = Truncate; action[0] = Quiesce; action[1] = Quiesce }
inline start(what) {  /* <- State::start, plan: who is retired already is not asked */
  phase = Complying; cause = what; begin_round();
  part[0] = (lease[0] -> Begin : Out); part[1] = (lease[1] -> Begin : Out);
}

/* The queue of the file, and what its break comes to: file_queue.cc, complying.cc, passing.cc */
proctype Queue() {
end:
  do
  :: atomic { READY && phase == Idle && asked -> asked = false; start(Truncate) }
#ifdef ANSWER_BEFORE_ACK
  :: atomic { READY && phase == Complying && (ALL_OUT || (part[0] == Recalled && part[1] == Recalled)) ->
#else
  :: atomic { READY && phase == Complying && ALL_OUT ->  /* <- State::out_of_the_way */
#endif
      if
      :: cause == Truncate -> phase = Passes
      :: cause == Revoke -> idle()
      fi }
  :: atomic { READY && phase == Passes -> j_passing = true; phase = Marks }  /* <- Ledger::answer: Journal::passes */
#ifdef LATE_MARK
  :: atomic { READY && phase == Marks -> phase = Responds }
#else
  :: atomic { READY && phase == Marks -> j_held = Answering; phase = Responds }  /* <- Journal::allows */
#endif
  :: atomic { READY && phase == Responds -> respond(); phase = Forgets }
  :: atomic { READY && phase == Forgets -> j_held = Free; phase = Passing }  /* <- Journal::answered */
#ifdef RESTORE_TOO_EARLY
  :: atomic { READY && phase == Passing ->
#else
  :: atomic { READY && phase == Passing && op != Inside && ALL_OUT ->  /* <- Ledger::leave, then State::operation_left, restore */
#endif
      j_passing = false; phase = Restoring;
      action[0] = Reregister; action[1] = Reregister }
  :: atomic { READY && phase == Restoring && ALL_OUT && part[0] == Out && part[1] == Out -> idle() }  /* <- finish */
  od
}

inline retire(i) { fence[i] = Retired; lease[i] = false; part[i] = Out }  /* <- out_of_reach, resume, client_out */

/* <- Broker::on_frame */
inline frame(i) {
  if
  :: session[i] != Open  /* its client is gone */
  :: session[i] == Open && what == RemoveMr ->  /* <- on_remove_mr */
      seen[i] = resuming[i];
      if
      :: fence[i] != Whole -> answer[i] = No
      :: else -> k_handed_back[i] = true; k_mr[i] = false; answer[i] = Ok
      fi
  :: session[i] == Open && what == AddMr ->  /* <- on_add_mr */
      seen[i] = resuming[i];
      if
      :: fence[i] != Whole -> answer[i] = No
      :: else -> k_mr[i] = true; answer[i] = Ok
      fi
  :: session[i] == Open && what == Resumed ->  /* <- on_resumed, on_add_device */
      duplicate[i] = (fence[i] == Whole || fence[i] == Retired); resuming[i] = false;
#ifndef NOT_ASKED_AGAIN
      if :: number == 1 && !seen[i] -> answer[i] = Restart :: else fi;
#else
      skip;
#endif
      seen[i] = false
  :: session[i] == Open && what == Done ->  /* <- on_recall_done, State::recall_answered */
      if
#ifdef SAME_NUMBERS
      :: part[i] == Recalled && fence[i] == Whole ->
#else
      :: part[i] == Recalled && fence[i] == Whole && number == life && which == action[i] ->
#endif
          if
          :: action[i] == Reregister -> k_quiesced[i] = false; part[i] = Out
          :: action[i] == Quiesce -> k_handed_back[i] = false; part[i] = Complied
          :: action[i] == Release -> k_handed_back[i] = false; k_lease[i] = false; lease[i] = false; part[i] = Out
          fi
      :: else  /* not outstanding: ignored */
      fi
  fi;
  what = 0; which = 0; number = 0
}

/* What one lease is asked for, and what becomes of it: tasks.cc, fencing.cc, endings.cc, session/ */
proctype Lease(byte i) {
  mtype what, which;
  byte number;
end:
  do
  :: atomic { READY && phase == Complying && part[i] == Begin ->  /* <- State::begin_before */
      if
      :: fence[i] == Ordered || fence[i] == Forced -> part[i] = Fenced
#ifdef NOT_RECALLED_ALL
      :: fence[i] == Whole && i == 1 && cause == Truncate -> part[i] = Complied
      :: fence[i] == Whole && !(i == 1 && cause == Truncate) ->
#else
      :: fence[i] == Whole ->
#endif
          action[i] = (cause == Revoke -> Release : Quiesce);
#ifndef NOTED_TOO_LATE
          if :: action[i] == Quiesce -> k_quiesced[i] = true :: else fi;
#endif
          part[i] = Noted
      fi }
  :: atomic { READY && phase == Restoring && part[i] == Complied -> part[i] = Noted }  /* <- State::begin_after */
  :: atomic { READY && part[i] == Noted && nfull(recall[i]) ->
      if :: alive[i] -> recall[i]!action[i], life :: else fi;
      part[i] = Recalled }  /* <- apply(effect::Recall) */
#ifdef NOTED_TOO_LATE
  :: atomic { READY && part[i] == Recalled && action[i] == Quiesce && !k_quiesced[i] -> k_quiesced[i] = true }
#endif
#ifndef NO_DEADLINE
  :: atomic { READY && i == 0 && part[i] == Recalled && fence[i] == Whole -> part[i] = Fenced; fence[i] = Ordered }  /* <- recall_expired, fence */
#endif
  :: atomic { READY && fence[i] == Ordered && session[i] != Closing && session[i] != Closed ->  /* <- Broker::fence_lease, fence::run */
#ifdef FENCE_UNFINISHED
      retire(i) }
#else
      if
      :: !k_mr[i] && !k_handed_back[i]  /* nothing to destroy */
#ifdef FENCE_HANDED_BACK
      :: !k_mr[i] && k_handed_back[i]
#endif
#ifdef FENCE_BLIND
      :: k_mr[i] && !duplicate[i]
#endif
      :: k_mr[i] && !k_handed_back[i] && duplicate[i] -> mr[i] = false
      :: kill_client(i); mr[i] = false; drop_duplicate(i)
      fi;
      fence[i] = Forced }
#endif
  :: atomic { READY && fence[i] == Forced -> k_fenced[i] = true; k_mr[i] = false; k_handed_back[i] = false;  /* <- fence_session's end, State::fence_done */
      retire(i) }
  :: atomic { READY && !alive[i] && session[i] == Open && fence[i] != Forced -> session[i] = Closing }  /* <- Broker::session_closed */
#ifdef GONE_FIRST
  :: atomic { READY && session[i] == Closing -> retire(i); session[i] = Closed }
  :: atomic { READY && session[i] == Closed -> mr[i] = false; drop_duplicate(i); k_lease[i] = false; k_mr[i] = false; session[i] = Gone }
#else
  :: atomic { READY && session[i] == Closing -> drop_duplicate(i); session[i] = Closed }  /* <- fence_session, drop_descriptors */
  :: atomic { READY && session[i] == Closed -> k_lease[i] = false; k_mr[i] = false; k_handed_back[i] = false;  /* <- State::session_gone, end_lease */
      retire(i); session[i] = Gone }
#endif
  :: atomic { READY && answer[i] != None -> reply[i]!answer[i]; answer[i] = None }  /* <- reply_status */
  :: atomic { READY && answer[i] == None && from_client[i]?[what, which, number] -> from_client[i]?what, which, number; frame(i) }
  od
}

/* A successor takes over: loop/office.cc take_over, guard/heritage.cc, session/adopt.cc */
proctype Successor() {
end:
  do
#ifdef SUCCESSOR_ANSWERS
  :: atomic { up && starting == 1 && j_held == Orphan -> respond(); j_held = Free }
#endif
  :: atomic { up && starting == 1 && j_held == Answering -> respond(); j_held = Free }  /* <- GuardCore::finish_answers */
  :: atomic { up && starting == 1 && j_held != Answering && (!j_passing || op != Inside) -> changing = false; starting = 2 }  /* <- await_passing: it has left, or is held */
#ifdef SUCCESSOR_RESTORES
  :: atomic { up && starting == 1 && j_held != Answering && j_passing && op == Inside -> changing = false; starting = 2 }
#else
  :: atomic { up && starting == 1 && j_held != Answering && j_passing && op == Inside -> changing = (j_held == Free); starting = 2 }  /* its bound has passed */
#endif
  :: atomic { up && starting == 2 -> j_passing = false;  /* <- adopt_session, adopt_lease */
      lease[0] = k_lease[0] && !k_fenced[0];
#ifndef FORGET_ONE
      lease[1] = k_lease[1] && !k_fenced[1];
#endif
      session[0] = (k_lease[0] -> Open : Gone); session[1] = (k_lease[1] -> Open : Gone);
      fence[0] = (lease[0] -> Whole : Retired); fence[1] = (lease[1] -> Whole : Retired);
      resuming[0] = true; resuming[1] = true;
      reply[0]!Resume; reply[1]!Resume;
      starting = 3 }
  :: atomic { up && starting == 3 ->  /* <- Broker::adopt_breaks, Arbiter adopt_break */
      if
      :: changing -> start(Revoke)
      :: else -> cause = Resumption; phase = Restoring; begin_round();
          action[0] = Reregister; action[1] = Reregister;
          part[0] = (lease[0] && k_quiesced[0] -> Complied : Out); part[1] = (lease[1] && k_quiesced[1] -> Complied : Out)
      fi;
      serving = true; starting = 4 }
  :: atomic { up && starting == 4 -> starting = 0;  /* <- GuardCore::begin */
      if
      :: j_held == Orphan -> asked = true
      :: else
      fi;
      begun = true }
  :: atomic { !up ->  /* the service manager starts a successor, which knows what was kept and nothing else */
#ifndef READ_FORGOTTEN
      if :: j_reading && j_got && j_held == Free -> j_held = Orphan :: else fi;  /* <- Journal::note_read */
#endif
      j_reading = false; j_got = false;
      reading = 0; asked = false; begun = false; serving = false; changing = false;
      idle(); part[0] = Out; part[1] = Out;
      lease[0] = false; lease[1] = false; seen[0] = false; seen[1] = false; answer[0] = None; answer[1] = None;
      life++; up = true; starting = 1 }
  od
}

/* ---- one crash, at any moment, or none */
proctype Crash() {
  if
  :: atomic { up = false; crashed = 1; drop_duplicate(0); drop_duplicate(1) }
  :: atomic { kill_client(0) }
  :: hung[0] = true
  :: skip
  fi
}

/* ---- when nothing can happen any more */
proctype Settled() {
  atomic {
    timeout;
    assert(op == Over && up && serving && begun && phase == Idle && !asked);
    assert(j_held == Free && !j_passing && !j_reading);
    /* Who can use its lease has it back; who is dead has nothing left. */
    assert(!GO(0) || REACHES(0) || !k_lease[0] || k_fenced[0]);
    assert(!GO(1) || REACHES(1) || !k_lease[1] || k_fenced[1]);
    assert(alive[0] || (!mr[0] && !k_lease[0]));
    assert(alive[1] || (!mr[1] && !k_lease[1]));
    assert(rounds <= 1 + 2 * crashed)
  }
}

init {
  atomic { run Foreign(); run Client(0); run Client(1); run Guard(); run Queue(); run Lease(0); run Lease(1); run Successor(); run Crash(); run Settled() }
}

ltl p2 { [] (op == Held -> <> (op != Held)) }
