#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients killed at random moments, while others truncate, punch, freeze and sync their files; and the daemon, while a client lives:
crashes.py (clients | daemon) COUNT + the options of drive.py. The daemon is systemd's service, or with --daemon one of our own. Exit
0: nothing acknowledged was lost, nobody waited for longer than a bound, no memory region of a dead process is left, and, with
direct, no page left the page cache while a memory region was over it."""
import os
import random
import signal
import sys
import time

from cachewatch import CacheWatch, Seen
from drive import parse
from process import Died, Program, wait_for_socket
from regions import memory_regions, no_orphans
from row import FENCE_MS, FENCED_BY_MS, PAGE, RECALL_DEADLINE_MS, Refused, Row
from systemd import SOCKET, ServedKiller, UnderSystemd, UNIT, pid_of_daemon, shown, systemctl
from usage import MORE_DESCRIPTORS, MORE_KIB, at_rest, grown, risen


def unlink_own(path):
    """The client's: fs.protected_regular keeps root from opening it in a directory that is anybody's."""
    if os.path.exists(path):
        os.unlink(path)


class Life(Row):
    """One client's, with its peer and its neighbour. It ends by SIGKILL."""
    def __init__(self, args, socket):
        unlink_own(f"{args.dir}/{args.name}")
        super().__init__(args)
        self.socket = socket

    def start_daemon(self):
        return ["--socket", self.socket]

    def operation(self, rng):
        """What somebody else does while the client dies."""
        pages = self.args.size // PAGE
        first = rng.randrange(self.floor, pages - 1)
        cut, punch = f"truncate {first * PAGE}", f"punch {first} {rng.randrange(1, pages - first)}"
        return rng.choice([cut, cut, punch, "freeze 20000", "sync"])

    def live_and_die(self, rng):
        self.start_peers()
        self.stream()
        operation = self.operation(rng)
        self.foreign.tell(operation)
        time.sleep(rng.uniform(0, 0.3))
        os.kill(self.receiver.pid, signal.SIGKILL)
        # Its peer would try again for as long as rxe's timers say.
        self.sender.process.kill()
        self.sender.process.wait()
        killed = time.monotonic()
        answer = self.foreign.line(FENCED_BY_MS / 1000 + 20)
        waited = answer.get("wait_ns", 0) / 1e6
        if answer["code"]:
            self.problems.append(f"{operation}: {os.strerror(answer['code'])} {answer.get('text', '')}")
        if waited > FENCED_BY_MS and not operation.startswith("freeze"):
            self.problems.append(f"{operation} waited {waited:.0f} of {FENCED_BY_MS} ms")
        self.no_regions_left(killed)
        self.ask(self.foreign, "ended")
        if operation.startswith("freeze"):
            self.ask(self.foreign, "thaw")
        if operation.startswith("truncate"):
            self.ask(self.foreign, f"truncate {self.args.size}")
        # A sync waits for what was owed by then.
        self.ask(self.foreign, "sync")
        self.count(self.ask(self.foreign, "check"))
        self.count(self.ask(self.foreign, "check-direct"), durable=True)
        self.ask(self.foreign, "quit", 20)
        return operation.split()[0], waited

    def no_regions_left(self, killed):
        while any(pid in (0, self.receiver.pid) for pid, _ in memory_regions()):
            if time.monotonic() > killed + 5:
                self.problems.append(f"a memory region of the dead process {self.receiver.pid} is left")
                break
            time.sleep(0.02)

    def end(self):
        for program in reversed(self.programs):
            program.end(10)
        return self.problems + [f"{what} {self.sum[what]} {self.first}" for what in ("lost", "torn", "not_durable") if self.sum[what]]


class Service:
    """The daemon: systemd's, or ours."""
    def __init__(self, args):
        self.program = None
        if args.daemon == "none":
            self.socket = SOCKET
            print(systemctl("start", "mrleased.socket", UNIT) or "started", flush=True)
            return
        os.makedirs("/run/load/" + args.name, exist_ok=True)
        self.socket = f"/run/load/{args.name}.sock"
        command = [args.daemon, "--foreground", "--socket", self.socket, "--root", args.dir, "--recall-deadline-ms",
                   str(RECALL_DEADLINE_MS), "--fence-deadline-ms", str(FENCE_MS)] + ["--break-something"] * args.break_something
        self.program = Program("mrleased", command, f"/run/load/{args.name}.daemon.log")
        wait_for_socket(self.socket, self.program, 20)

    def pid(self):
        return self.program.pid if self.program else pid_of_daemon()

    def end(self):
        if self.program:
            self.program.end(10)


# Lives without a peer, for what each leaves behind; before the first that is looked at the daemon warms up. Its heap settles by steps, most of
# them in the first twenty; so many more are looked at that most steps are none. Of a direct lease it has nothing that it would not
# have of the others.
BRIEF, WARM_UP = 48, 12
FEW = 3  # successors before the first that is looked at


class Brief(Life):
    """Registers, and is killed: what each would leave behind adds up."""
    def live_and_die(self, rng):
        self.start_receiver()
        time.sleep(rng.uniform(0, 0.02))
        os.kill(self.receiver.pid, signal.SIGKILL)
        self.no_regions_left(time.monotonic())
        return "nobody", 0


def one_life(life, watch, rng):
    """(what it met, how long that waited, what is wrong, what was seen of the page cache)."""
    met = "", 0
    if watch:
        watch.start(os.stat(life.file).st_ino)
    try:
        met = life.live_and_die(rng)
    except (Died, Refused) as died:
        life.problems.append(str(died))
    bad = life.end()
    seen = [Seen(watch.stop(), {getattr(life, "first_info", {}).get("address", 0)})] if watch else []
    return *met, bad, seen


def clients(args, count):
    service, rng = Service(args), random.Random(args.seed)
    watch = CacheWatch() if args.backing == "direct" else None
    seen, problems, waits, what, after = [], [], [], {}, []
    pid, briefs = service.pid(), 0 if args.backing == "direct" else BRIEF
    for number in range(count + briefs):
        brief = number >= count
        met, waited, bad, saw = one_life((Brief if brief else Life)(args, service.socket), None if brief else watch, rng)
        what[met] = what.get(met, 0) + 1
        waits.append(waited)
        seen += saw
        problems += [f"life {number}: {problem}" for problem in bad]
        if not bad:
            after.append(at_rest(service.pid()))
        if len(problems) > 5:
            break
    if watch:
        watch.close()
    if service.pid() != pid:
        problems.append("the daemon has not lived through it")
    samples = after[count + WARM_UP:]
    print(f"{count} clients killed, and {briefs} without a peer, backing {args.backing}, seed {args.seed}: met {what}; others waited "
          f"{max(waits, default=0):.0f} ms at most; the daemon's descriptors and KiB after the last: {[s[:2] for s in samples]}, "
          f"after every {max(1, count // 8)}th: {[s[:2] for s in after[:count:max(1, count // 8)]]}", flush=True)
    service.end()
    return problems + risen(after[:count]) + (grown(samples) if briefs else []) + judge_trace(seen, count)


def judge_trace(seen, least):
    if not seen:
        return []
    registered, left = sum(s.registered for s in seen), sum(s.left for s in seen)
    unprotected = [text for s in seen for text in s.unprotected]
    print(f"observed: {registered} registrations, {left} pages left the page cache, {len(unprotected)} of them under a memory region",
          flush=True)
    bad = [f"{len(unprotected)} pages left the page cache under a memory region: {unprotected[0]}"] if unprotected else []
    if registered < least or not left:
        bad.append("the observer has seen too little")
    if any(s.still for s in seen):
        bad.append("memory regions that were never deregistered")
    return bad


class Killed(UnderSystemd):
    """A direct lease may change its keys: the application is asked to be quiet, as without kills. Where leases of fcntl(2) hold, what
    comes while others have the file open is not held, as the coverage says: who checks has it open. After a truncate nobody waits."""
    def start_peers(self):
        super().start_peers()
        self.held_again()

    def check_cycle(self, number):
        super().check_cycle(number)
        self.held_again()

    def held_again(self):
        end, inode = time.monotonic() + 20, f":{os.stat(self.file).st_ino} "
        while self.first_info["guard"] == "lease":
            with open("/proc/locks", encoding="ascii") as f:
                if any(" LEASE " in line and inode in line for line in f):
                    return
            if time.monotonic() > end:
                self.problems.append("nobody has a lease of the file")
                return
            time.sleep(0.002)


def killed_row(args, count):
    """(what is wrong, what was seen of the page cache)."""
    unlink_own(f"{args.dir}/{args.name}")
    row = Killed(args)
    row.trouble = trouble = ServedKiller(count, args.seed)
    watch = CacheWatch() if args.backing == "direct" else None
    if watch:
        watch.start(os.stat(row.file).st_ino)
    result = row.run()
    problems, seen = list(result["problems"]), []
    if watch:
        seen.append(Seen(watch.stop(), {getattr(row, "first_info", {}).get("address", 0)}))
        watch.close()
    longest = result["foreign_wait_ms_by"].get("truncate", dict(max=0))["max"]
    bound = trouble.away * 1000 + FENCED_BY_MS
    print(f"the daemon killed {trouble.done} times in {trouble.seconds:.0f} s, backing {args.backing}, seed {args.seed}: {result['ops']} "
          f"operations of the peer, {result['truncates']} truncates, the longest waited {longest:.0f} of {bound:.0f} ms; "
          f"told {result['events']}", flush=True)
    wrong = ("errors", "lost", "torn", "not_durable", "foreign_errors")
    problems += [f"{what} is {result[what]} {result['first']}" for what in wrong if result[what]]
    problems += trouble.judge() + judge_trace(seen, 1)
    if longest > bound:
        problems.append("a truncate waited too long")
    if trouble.done < count or result["truncates"] < count:
        problems.append(f"{trouble.done} kills and {result['truncates']} truncates of {count}")
    return problems


def daemon(args, count):
    """What the last successor has when nobody has a lease any more is what one of the first had."""
    problems, had = [], []
    # A trace holds a hundred kills.
    rows = [FEW] + [min(100, count - done) for done in range(FEW, count, 100)]
    for kills in rows:
        problems += killed_row(args, kills)
        had.append((at_rest(pid_of_daemon()), int(shown("NFileDescriptorStore"))))
    (first, kept_first), (last, kept_last) = had[0], had[-1]
    print(f"at rest: {first[:2]} descriptors and KiB after {FEW} kills, {last[:2]} after {count}; with systemd {kept_first}, {kept_last} "
          f"{dict(last[2] - first[2])}", flush=True)
    # Each kill that leaves one behind would be seen: there are more of them. A successor has its memory anew: only what is handed on grows.
    if max(kept_last - kept_first, last[0] - first[0]) > MORE_DESCRIPTORS or last[1] > first[1] + MORE_KIB:
        problems.append(f"the successors grow: {had}")
    return problems


def main():
    what, count = sys.argv[1], int(sys.argv[2])
    args = parse(sys.argv[3:])
    problems = (clients if what == "clients" else daemon)(args, count)
    problems += no_orphans()
    for problem in problems:
        print("NOT OK: " + problem, flush=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
