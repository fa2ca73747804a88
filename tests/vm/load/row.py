# SPDX-License-Identifier: Apache-2.0
"""A receiver, its remote peer, another user of the file, and the daemon. Only the daemon is privileged: the three
others run as users of their own."""
import itertools
import os
import random
import shutil
import time

from process import Died, Program, wait_for_socket
from table import Counters

PAGE = 4096
RECEIVER, SENDER, FOREIGN, FILE_GROUP = 65534, 65532, 65533, 65500
RECALL_DEADLINE_MS = 2000
FENCE_MS = 500  # --fence-deadline-ms, where it is given
SLACK_MS = 1000  # what the host needs beside the deadlines: the rig's processors are emulated
FENCED_BY_MS = RECALL_DEADLINE_MS + FENCE_MS + SLACK_MS


class Refused(Exception):
    """The receiver could not register."""


class Row:
    def __init__(self, args):
        self.args = args
        self.name = args.name or args.backing
        self.work = "/run/load/" + self.name
        self.file = f"{args.dir}/{self.name}"
        if args.out_of_reach:
            os.makedirs(self.file + ".closed", exist_ok=True)
            os.chown(self.file + ".closed", 0, FILE_GROUP)  # the others' group, not the receiver's
            os.chmod(self.file + ".closed", 0o710)
            self.file += ".closed/data"
        self.table = self.work + "/table"
        self.plain = args.backing in ("plain", "none") and not args.preload
        self.random = random.Random(args.seed)
        self.programs, self.problems = [], []
        self.sum = dict(lost=0, torn=0, not_durable=0, unsettled=0, orphans=0, reattached=0, freezes=0, truncates=0, syncs=0, foreign_errors=0)
        self.first = self.refused = ""
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.work)
        os.chmod(self.work, 0o1777)
        self.make_file()

    def make_file(self):
        with open(self.file, "wb") as f:
            f.write(bytes(self.args.size))
            os.fsync(f.fileno())
        os.chown(self.file, RECEIVER, FILE_GROUP)
        os.chmod(self.file, 0o660)

    def start(self, what, command, user=None, group=None, prefix="", opened=()):
        who = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        program = Program(what, list(opened) + prefix.split() + who + command, f"{self.work}/{what}.log")
        self.programs.append(program)
        return program

    def start_daemon(self):
        socket = self.socket = self.work + "/mrleased.sock"
        command = [self.args.daemon, "--foreground", "--socket", socket, "--root", self.args.dir,
                   "--recall-deadline-ms", str(RECALL_DEADLINE_MS), "--freeze-conflict", self.args.freeze_conflict]
        command += self.args.daemon_options.split()
        if self.args.break_something:
            command.append("--break-something")
        self.daemon = self.start("mrleased", command)
        wait_for_socket(socket, self.daemon, 20)
        return ["--socket", socket]

    def start_receiver(self):
        a, socket = self.args, [] if self.plain else self.start_daemon()
        flags = [f"--{f}" for f in ("quirk", "adopt", "mlockall", "preserve") if getattr(a, f)]
        flags += ["--fork-init"] * a.fork_init + ["--fork-child"] * a.fork_child
        stores = ["--store-pages", str(a.stores), "--store-table", self.work + "/stores"] if a.stores else []
        # Out of reach: it has the file open from before, as descriptor 9.
        file, opened = ("/proc/self/fd/9", ["sh", "-c", 'exec "$@" 9<>"$0"', self.file]) if a.out_of_reach else (self.file, [])
        in_front = ["env", "LD_PRELOAD=" + a.preload, "MRLEASE_PRELOAD_VERBOSE=1", "MRLEASE_SOCKET=" + self.socket] if a.preload else []
        if a.stop_in_dereg:
            in_front = ["env", f"LD_PRELOAD={a.bin}/libstop_in_dereg.so", f"STOP_IN_DEREG={a.size}"]
        self.receiver = self.start("mrl_receiver", in_front + [a.bin + "/mrl_receiver", "--file", file,
                                   "--backing", a.backing, "--budget", str(a.budget), "--table", self.table] + socket + flags + stores + self.part() + self.address(),
                                   RECEIVER, RECEIVER, os.environ.get("RECV_NS", ""), opened)
        self.ready = self.receiver.line(30)
        if "failed" in self.ready:
            raise Refused(self.ready["failed"])

    def part(self):
        """Of the file that the receiver registers: all of it."""
        return []

    def foreigners(self):
        """Options of the other user's."""
        return []

    def address(self):
        return ["--address", self.args.address] if self.args.address else []

    def start_peers(self):
        self.start_receiver()
        a, pages = self.args, self.args.size // PAGE
        self.floor = 0 if a.all_pages else pages // 4
        self.sender = self.start("mrl_sender", [a.bin + "/mrl_sender", "--table", self.table,
                                 "--floor", str(self.floor), "--spare", str(a.stores), "--seed", str(a.seed)] +
                                 ["--unaligned"] * a.unaligned + ["--no-atomics"] * a.all_pages + self.address(),
                                 SENDER, SENDER, os.environ.get("SEND_NS", ""))
        if a.fork_child:
            self.child = self.receiver.line(20)["child"]
        self.counters = Counters(self.table, self.sender, 20)
        self.foreign = self.start_foreign("mrl_foreign")
        self.first_info = self.receiver.ask("info", 20)

    def start_foreign(self, what):
        a, socket = self.args, ["--plain"] if self.plain else ["--socket", self.socket]
        spare = ["--store-table", self.work + "/stores", "--spare", str(a.stores)] if a.stores else []
        program = self.start(what, [a.bin + "/mrl_foreign", "--file", self.file, "--size", str(a.size),
                             "--table", self.table] + spare + socket + self.foreigners(), FOREIGN, FILE_GROUP,
                             os.environ.get("FOREIGN_NS", ""))
        program.line(20)
        return program

    def stream(self):
        self.counters.advance(self.args.ops, self.sender, 60)

    def ask(self, program, command, deadline=60):
        answer = program.ask(command, deadline)
        if answer["code"]:
            self.sum["foreign_errors"] += 1
            why = answer.get("text", answer.get("error", ""))
            self.problems.append(f"{command}: {os.strerror(answer['code'])}: {why}")
        return answer

    def count(self, answer, durable=False):
        if durable:
            self.sum["not_durable"] += answer.get("lost", 0)
        else:
            self.sum["lost"] += answer.get("lost", 0) + answer.get("risen", 0)
            self.sum["torn"] += answer.get("torn", 0) + answer.get("moved", 0)
        if answer.get("first") and not self.first:
            self.first = answer["first"]

    def cut_size(self):
        size = self.random.randrange(self.floor * PAGE, self.args.size)
        return size if self.random.random() < self.args.odd_cuts else size // PAGE * PAGE

    def told(self, size):
        """Until the receiver knows that the file is shorter. The lease guard of older kernels takes a moment to hold the file
        again: nobody would know that it had been, were it made longer before."""
        end = time.monotonic() + 20
        while self.first_info["guard"] == "lease" and self.receiver.ask("info", 20)["size"] > size:
            if time.monotonic() > end:
                self.problems.append(f"the receiver was not told of the cut to {size}")
                return
            time.sleep(0.002)

    def truncate_cycle(self):
        size = self.cut_size()
        self.ask(self.foreign, f"truncate {size}")
        self.sum["truncates"] += 1
        if not self.plain:
            self.told(size)
        self.stream()
        if self.args.preserve:
            self.look_at_orphans(size)
        self.ask(self.foreign, f"truncate {self.args.size}")
        if not self.plain:
            self.count(self.ask(self.foreign, f"zeros {size}"))
        if self.args.reattach and self.sum["truncates"] % 2:
            answer = self.ask(self.receiver, f"reattach {size}")
            self.sum["reattached"] += not answer["code"]
            self.ask(self.foreign, f"{'extended' if answer['code'] else f'reattached {size}'} {answer['now_ns']}")
        else:
            answer = self.ask(self.receiver, f"extend {size if self.args.preserve else 0}")
            self.ask(self.foreign, f"extended {answer['now_ns']}")
        self.stream()

    def look_at_orphans(self, size):
        """What was cut off is kept, and what was written since."""
        self.ask(self.receiver, "quiet")
        self.count(self.ask(self.receiver, f"orphans {size}"))
        self.sum["orphans"] += self.args.size // PAGE - -(-size // PAGE)
        self.ask(self.receiver, "resume")

    def freeze_cycle(self):
        self.sum["unsettled"] += self.ask(self.foreign, "freeze 20000").get("unsettled", 0)
        self.count(self.ask(self.foreign, "copy"))
        self.stream()
        self.count(self.ask(self.foreign, "copy"))
        self.ask(self.foreign, "thaw")
        self.sum["freezes"] += 1
        self.stream()

    def check_cycle(self, number):
        # One that lets the pages stand still is a freeze, too.
        sync = "sync 20000" if "freeze" in self.args.phases and number % 4 < 2 else "sync"
        self.ask(self.foreign, sync)
        self.stream()
        self.ask(self.receiver, "quiet")
        if self.first_info["guard"] == "precontent":  # it covers read: others see what was acknowledged, without a sync
            self.count(self.ask(self.foreign, "check"))
        if number % 2:
            self.ask(self.receiver, "sync")
        else:
            self.ask(self.foreign, sync)
        self.sum["syncs"] += 2
        self.count(self.ask(self.foreign, "check-direct"), durable=True)
        self.count(self.ask(self.foreign, "check"))
        self.ask(self.receiver, "resume")

    def goes_on(self, cycles_done):
        """A control has shown what it is for as soon as something is lost."""
        return cycles_done < self.args.cycles and not (self.args.break_something and self.sum["lost"])

    def run(self):
        started = time.monotonic()
        try:
            self.start_peers()
            self.stream()
            for number in itertools.takewhile(self.goes_on, itertools.count()):
                if "truncate" in self.args.phases:
                    self.truncate_cycle()
                if "freeze" in self.args.phases:
                    self.freeze_cycle()
                self.check_cycle(number)
        except Refused as refused:
            self.refused = str(refused)
            if not self.plain:
                self.problems.append(self.refused)
        except Died as died:
            self.problems.append(str(died))
        row = self.finish()
        row["seconds"] = round(time.monotonic() - started, 1)
        return row

    def finish(self):
        row, waits, sent, info = {}, {}, {}, {}
        try:
            if self.refused:
                raise StopIteration
            info = self.receiver.ask("info", 20)
            waits = self.foreign.ask("waits", 20)
            self.foreign.ask("quit", 20)
            self.receiver.ask("quit", 20)
            sent = self.sender.line(30)
            ended = self.receiver.wait(20)
            if ended:
                self.problems.append(f"the receiver ended with {ended}: {self.receiver.last_words()}")
        except StopIteration:
            pass
        except (Died, AttributeError, KeyError) as died:
            self.problems.append(f"at the end: {died}")
        for program in reversed(self.programs):
            program.end(10)
        row.update(self.describe(info or getattr(self, "ready", {}), sent))
        row.update(self.sum)
        row.update(self.times(waits))
        for key, counts in (("lost", ("stale_reads", "wrong_atomics")), ("torn", ("torn_reads",))):
            for count in counts:
                row[key] += sent.get(count, 0)
                if sent.get(count, 0) and not self.first:
                    self.first = f"the sender: {count} = {sent[count]}"
        row.update(first=self.first, problems=self.problems)
        return row

    def describe(self, info, sent):
        a = self.args
        first = getattr(self, "first_info", {})
        return dict(mrlease=not self.plain, control=a.break_something, name=self.name,
                    kernel=os.uname().release, backing=info.get("backing", a.backing),
                    refused=self.refused, asked=a.backing, transparent=info.get("transparent", False),
                    guard=info.get("guard", "none"),
                    coverage=info.get("coverage", ""), reason=info.get("reason", ""), unaligned=a.unaligned,
                    ops=sent.get("ops", 0), errors=sent.get("errors", 0), failures=sent.get("failures", ""),
                    writes=sent.get("writes", 0), reads=sent.get("reads", 0), atomics=sent.get("atomics", 0),
                    stall_ms_max=sent.get("stall_us_max", 0) / 1000, budget_ms=a.budget,
                    pages_merged=info.get("pages_merged", 0), stalls_over_20ms=sent.get("stalls_over_20ms", 0),
                    gate_ms_max=info.get("gate_us_max", 0) / 1000, away_ms=sent.get("away_us", 0) / 1000, events=info.get("events", ""),
                    key_changes=sent.get("key_changes", 0), cycles=a.cycles, phases=a.phases, expected=a.expect,
                    keys_same=bool(first) and [first.get("address"), first.get("rkey")] ==
                    [info.get("address"), info.get("rkey")])

    def times(self, waits):
        lists = {k: v for k, v in waits.items() if isinstance(v, list)}
        every = sorted(ns / 1e6 for list_ in lists.values() for ns in list_)
        of_one = lambda v: dict(n=len(v), p50=round(sorted(v)[len(v) // 2] / 1e6, 3), max=round(max(v) / 1e6, 3))
        at = lambda q: round(every[min(len(every) - 1, int(q * len(every)))], 3) if every else 0
        return dict(foreign_ops=len(every), foreign_wait_ms_p50=at(0.5), foreign_wait_ms_p99=at(0.99),
                    foreign_wait_ms_max=at(1),
                    foreign_wait_ms_by={what: of_one(list_) for what, list_ in lists.items()})
