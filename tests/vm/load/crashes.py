#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients killed at random moments, while others truncate, punch, freeze and sync their files; and the daemon, while a client lives:
crashes.py (clients | daemon) COUNT + the options of drive.py. The daemon is systemd's service, or with --daemon one of our own. Exit
0: nothing acknowledged was lost, nobody waited for longer than a bound, no memory region of a dead process is left, and, with
direct, no page left the page cache while a memory region was over it."""
import os
import random
import re
import signal
import subprocess
import sys
import time

from cachewatch import CacheWatch, Seen
from drive import parse
from process import Died, Program, wait_for_socket
from row import FENCE_MS, FENCED_BY_MS, FILE_GROUP, PAGE, RECALL_DEADLINE_MS, RECEIVER, Refused, Row
from systemd import SOCKET, ServedKiller, UnderSystemd, pid_of_daemon, systemctl, UNIT
from usage import usage


def memory_regions():
    """Of user processes, all over: [(pid, length)]."""
    command = os.environ.get("RECV_NS", "").split() + ["rdma", "resource", "show", "mr"]
    out = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True).stdout
    return [(int(m[2]), int(m[1])) for m in re.finditer(r"mrlen (\d+) .*?pid (\d+)", out)]


class Life(Row):
    """One client's, with its peer and its neighbour. It ends by SIGKILL."""
    def __init__(self, args, socket):
        path = f"{args.dir}/{args.name}"
        if os.path.exists(path):  # the client's: fs.protected_regular keeps root from opening it in a directory that is anybody's
            os.unlink(path)
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
        while any(pid == self.receiver.pid for pid, _ in memory_regions()):
            if time.monotonic() > killed + 5:
                self.problems.append(f"a memory region of the dead process {self.receiver.pid} is left")
                break
            time.sleep(0.02)
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


# What may be more at the end than after the first lives: a spare store and what a worker is just closing come and go, arenas of
# malloc fill. A leak of one descriptor a life would be seen: four lives and more come after the warm-up.
MORE_DESCRIPTORS = 3
MORE_KIB = 1024
WARM_UP = 3


def clients(args, count):
    service, rng = Service(args), random.Random(args.seed)
    watch, seen, problems, waits, what = None, [], [], [], {}
    if args.backing == "direct":
        watch = CacheWatch()
    warm, pid = None, service.pid()
    for number in range(count):
        life = Life(args, service.socket)
        if watch:
            watch.start(os.stat(life.file).st_ino)
        bases = set()
        try:
            operation, waited = life.live_and_die(rng)
            what[operation] = what.get(operation, 0) + 1
            waits.append(waited)
        except (Died, Refused) as died:
            life.problems.append(str(died))
        bad = life.end()
        if watch:
            bases.add(getattr(life, "first_info", {}).get("address", 0))
            seen.append(Seen(watch.stop(), bases))
        problems += [f"life {number}: {problem}" for problem in bad]
        if number + 1 == min(WARM_UP, count):
            warm = usage(service.pid())
        if len(problems) > 5:
            break
    if watch:
        watch.close()
    now = usage(service.pid())
    if service.pid() != pid:
        problems.append("the daemon has not lived through it")
    print(f"{count} clients killed, backing {args.backing}, seed {args.seed}: met {what}; others waited {max(waits, default=0):.0f} ms "
          f"at most; the daemon: {warm[0]} descriptors, {warm[1]} KiB after {min(WARM_UP, count)}, {now[0]} and {now[1]} at the end "
          f"{dict(now[2] - warm[2])}", flush=True)
    if now[0] > warm[0] + MORE_DESCRIPTORS:
        problems.append(f"its descriptors grow: {warm[0]}, {now[0]}: {dict(now[2] - warm[2])}")
    if now[1] > warm[1] + MORE_KIB:
        problems.append(f"its memory grows: {warm[1]}, {now[1]} KiB")
    problems += judge_trace(seen, count)
    service.end()
    return problems


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


def daemon(args, count):
    row = Killed(args)
    row.trouble = ServedKiller(count, args.seed)
    watch = CacheWatch() if args.backing == "direct" else None
    if watch:
        watch.start(os.stat(row.file).st_ino)
    result = row.run()
    trouble, problems = row.trouble, list(result["problems"])
    seen = []
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


def main():
    what, count = sys.argv[1], int(sys.argv[2])
    args = parse(sys.argv[3:])
    problems = (clients if what == "clients" else daemon)(args, count)
    left = memory_regions()
    living = {int(pid) for pid in os.listdir("/proc") if pid.isdigit()}
    orphans = [region for region in left if region[0] not in living]
    print(f"memory regions left: {len(left)}, of dead processes: {len(orphans)}", flush=True)
    if orphans:
        problems.append(f"memory regions of dead processes: {orphans}")
    for problem in problems:
        print("NOT OK: " + problem, flush=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
