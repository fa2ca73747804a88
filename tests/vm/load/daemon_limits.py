# SPDX-License-Identifier: Apache-2.0
"""Limits of the daemon, and many who wait for it at once."""
import os
import resource
import signal
import time

from disk import MIB, run
from faulty import Faulty
from row import FENCED_BY_MS, FILE_GROUP, FOREIGN, PAGE, RECEIVER
from systemd import wait_until
from usage import MORE_DESCRIPTORS, MORE_KIB, at_rest


def read_at(file, at):
    with open(file, "rb") as f:
        os.pread(f.fileno(), PAGE, at)


def write_at(file, at):
    with open(file, "r+b") as f:
        os.pwrite(f.fileno(), b"foreign", at)


def held(pid):
    """How many of its threads are in a read."""
    number = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/syscall", encoding="ascii") as f:
            number += f.read().startswith("17 ")  # pread64, asm/unistd_64.h
    return number


class ControlGroup:
    """A process in a control group with a memory.max, as MemoryMax= of a service makes one."""
    ROOT = "/sys/fs/cgroup"

    def __init__(self, name, pid, mib):
        self.path, self.pid = f"{self.ROOT}/{name}", pid
        if not os.path.exists(self.ROOT + "/cgroup.procs"):
            run("mount", "-t", "cgroup2", "none", self.ROOT)
        self.write(self.ROOT + "/cgroup.subtree_control", "+memory")
        os.makedirs(self.path, exist_ok=True)
        self.write(self.path + "/memory.max", mib * MIB)

    @staticmethod
    def write(path, value):
        with open(path, "w", encoding="ascii") as f:
            f.write(str(value))

    def __enter__(self):
        self.write(self.path + "/cgroup.procs", self.pid)
        return self

    def __exit__(self, *_):
        self.write(self.ROOT + "/cgroup.procs", self.pid)
        os.rmdir(self.path)

    def killed(self):
        with open(self.path + "/memory.events", encoding="ascii") as f:
            return int(dict(line.split() for line in f)["oom_kill"])


class DaemonLimits(Faulty):
    def second(self, mib=1):
        """Another client wants a lease: "" when it has got it, or what it was told."""
        path = self.file + ".second"
        with open(path, "wb") as f:
            f.truncate(mib * MIB)
        os.chown(path, RECEIVER, FILE_GROUP)
        program = self.start("mrl_second", [self.args.bin + "/mrl_receiver", "--file", path, "--backing", "bounce", "--port", "18599",
                             "--socket", self.socket], RECEIVER, RECEIVER, os.environ.get("RECV_NS", ""))
        told = program.line(30).get("failed", "")
        program.end(10)
        return told

    def limited(self, what, limit, told, mib=1):
        run("prlimit", "--pid", str(self.daemon.pid), limit)
        self.refused_to_newcomers(f"{what} ({limit})", told, mib)

    def refused_to_newcomers(self, what, told, mib):
        """A limit of the daemon's: who is new is refused and told why, who has a lease and who holds none go on."""
        refused = self.second(mib)
        self.expect(all(words in refused for words in told), f"{what}: a newcomer is told: {refused or 'nothing, it has a lease'}")
        self.others_go_on(what)
        self.ask(self.receiver, "quiet")
        self.durable(what)
        self.ask(self.receiver, "resume")
        self.lives(what)

    def limits(self):
        self.begin()
        pid = self.daemon.pid
        soft = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
        for room in (16, 9):  # fewer than half of the reserve: it is hung up on
            used = len(os.listdir(f"/proc/{pid}/fd"))
            self.limited(f"{room} descriptors left", f"--nofile={used + room}:", ("Too many open files", "LimitNOFILE"))
        run("prlimit", "--pid", str(pid), f"--nofile={soft}:")
        with open(f"/proc/{pid}/statm", encoding="ascii") as f:
            size = int(f.read().split()[0]) * PAGE
        self.limited("no memory left", f"--as={size + 3 * MIB}:", ("Cannot allocate memory",), 1024)
        run("prlimit", "--pid", str(pid), "--as=unlimited:")
        self.expect(not self.second(), "without the limits it gets its lease")
        with ControlGroup("mrleased", pid, 24) as group:
            self.refused_to_newcomers("24 MiB of MemoryMax", ("may have", "MemoryMax"), 32)
            self.expect(not self.second(2), "what fits is granted")
            self.expect(not group.killed(), "nobody was killed for want of memory")

    def pressure(self):
        """Many are held at once, and the client is stopped: each waits for one recall and one fence."""
        many = 24
        self.begin()
        os.kill(self.receiver.pid, signal.SIGSTOP)
        go, told = os.pipe(), os.pipe()
        calls = [lambda at: os.truncate(self.file, at), lambda at: read_at(self.file, at), lambda at: write_at(self.file, at)]
        children = []
        for number in range(many):
            child = os.fork()
            if child == 0:
                os.close(go[1])
                os.setgroups([])
                os.setresgid(FILE_GROUP, FILE_GROUP, FILE_GROUP)
                os.setresuid(FOREIGN, FOREIGN, FOREIGN)
                os.read(go[0], 1)
                began, code = time.monotonic(), 0
                try:
                    calls[number % len(calls)]((self.floor + number) * PAGE)
                except OSError as error:
                    code = error.errno
                os.write(told[1], f"{code} {time.monotonic() - began:.3f}\n".encode())
                os._exit(0)
            children.append(child)
        os.close(go[1])
        os.close(told[1])
        with os.fdopen(told[0]) as lines:
            waits = [line.split() for line in lines]
        for child in children:
            os.waitpid(child, 0)
        longest = max(float(seconds) for _, seconds in waits) * 1000
        self.expect(len(waits) == many and all(code == "0" for code, _ in waits),
                    f"{len(waits)} of {many} came through: {sorted({c for c, _ in waits})}")
        self.expect(longest <= FENCED_BY_MS, f"{many} at once, the client stopped: the longest waited {longest:.0f} of {FENCED_BY_MS} ms")
        self.peer_has_lost_access()
        self.client_lives_and_is_told()

    def start_crowd(self, many):
        crowd = self.start("mrl_crowd", [self.args.bin + "/mrl_crowd", "--file", self.file, "--threads", str(many), "--pages", str(self.floor)],
                           FOREIGN, FILE_GROUP)
        crowd.line(20)
        return crowd

    def queue(self):
        """The daemon stands still, and many wait for it: afterwards each ends as soon as if it had not, and no memory and no descriptor of
        the daemon's is gone. The page of each read is brought to the file, one after the other. Not more of them: DESIGN.md, Threads."""
        many, cut = 100, self.args.size // 2
        self.args.daemon_options += " --admin-events-max 16"  # whose ring would fill
        self.begin()
        crowd = self.start_crowd(many)
        undisturbed = self.crowd_reads(crowd, many, None)
        had = [at_rest(self.daemon.pid)]
        for _ in range(2):
            longest = self.crowd_reads(crowd, many, cut)
            bound = FENCED_BY_MS / 1000 + 2 * undisturbed
            self.expect(longest <= bound, f"{many} reads after the daemon goes on: the last returned after {longest:.1f} of {bound:.1f} s")
            had.append(at_rest(self.daemon.pid))
            self.told(cut)
            self.ask(self.foreign, f"truncate {self.args.size}")
            answer = self.ask(self.receiver, "extend")
            self.ask(self.foreign, f"extended {answer['now_ns']}")
            self.stream()
        print(f"  {many} at a daemon that runs: {undisturbed:.1f} s; its descriptors and KiB: {[h[:2] for h in had]}", flush=True)
        self.expect(had[2][0] <= had[0][0] + MORE_DESCRIPTORS, "its descriptors are what they were")
        self.expect(had[1][1] < had[0][1] + many * 16 and had[2][1] < had[1][1] + MORE_KIB, "its memory is bounded, and used again")
        self.ask(self.receiver, "quiet")
        self.durable("many at once")
        self.lives("many at once")

    def crowd_reads(self, crowd, many, cut):
        """How long after the daemon went on the last read returned, in seconds. cut: it is stopped until all of them and a truncate wait."""
        began = time.monotonic()
        if cut:
            os.kill(self.daemon.pid, signal.SIGSTOP)
            self.foreign.tell(f"truncate {cut}")
        crowd.tell("read")
        if cut:
            wait_until(lambda: held(crowd.pid) == many, 60)
            self.expect(not self.foreign.said(), f"{many} reads and a truncate wait for the daemon")
            began = time.monotonic()
            os.kill(self.daemon.pid, signal.SIGCONT)
        ended = crowd.line(60)
        self.expect(ended["failed"] == 0, f"{ended['failed']} of {many} reads fail: {os.strerror(ended['code'])}")
        if cut:
            truncated = self.foreign.line(20)
            self.expect(truncated["code"] == 0, f"the truncate: {os.strerror(truncated['code'])}")
        return max(ended["ends_ns"]) / 1e9 - began
