#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Disks that are full, fail, or go read-only under a lease, and limits of the daemon: faults.py NAME --backing B ... (the options of
drive.py). What the application is told, whether its data is there, how long others wait, and what is on the disk when the
fault is over. Exit 0: all was as it must be."""
import errno
import os
import resource
import signal
import sys
import time

from disk import MIB, Disk, run
from drive import parse
from process import Died
from row import FENCE_MS, FENCED_BY_MS, FILE_GROUP, FOREIGN, PAGE, RECEIVER, Refused
from scenarios import Scenario


def read_at(file, at):
    with open(file, "rb") as f:
        os.pread(f.fileno(), PAGE, at)


def write_at(file, at):
    with open(file, "r+b") as f:
        os.pwrite(f.fileno(), b"foreign", at)


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


class Faults(Scenario):
    disk = None

    def on_disk(self, mib, sparse):
        """The leased file is on a disk of its own; sparse: every page that is written needs a block."""
        self.disk = Disk(self.name, mib)
        self.args.dir = self.disk.mount
        self.file = f"{self.disk.mount}/data"
        with open(self.file, "wb") as f:
            if sparse:
                f.truncate(self.args.size)
            else:
                f.write(bytes(self.args.size))
            os.fsync(f.fileno())
        os.chown(self.file, RECEIVER, FILE_GROUP)
        os.chmod(self.file, 0o660)

    def sync_fails(self, codes, what):
        answer = self.receiver.ask("sync", 30)
        self.expect(answer["code"] in codes,
                    f"{what}: mrl_sync says {errno.errorcode.get(answer['code'], answer['code'])}: {answer['error']}")

    def freeze_fails(self, codes, what):
        """What was acknowledged is not in the file: nothing stands still, and the next one is asked for in vain as well."""
        for _ in range(2):
            answer = self.foreign.ask("freeze 20000", 30)
            self.expect(answer["code"] in codes,
                        f"{what}: a freeze says {errno.errorcode.get(answer['code'], answer['code'])}: {answer.get('text', '')}")

    def kept(self, what):
        """What was acknowledged is where the application can read it."""
        seen = self.receiver.ask("orphans 4096", 30)
        self.expect(not seen["lost"] and not seen["risen"], f"{what}: {seen['lost']} pages of its mapping are lost {seen.get('first', '')}")

    def durable(self, what):
        """By a sync of the application."""
        self.ask(self.receiver, "sync")
        for how in ("check-direct", "check"):
            seen = self.ask(self.foreign, how)
            self.expect(not seen.get("lost"), f"{what}: {seen.get('lost')} pages are not in the file ({how}) {seen.get('first', '')}")

    def others_go_on(self, what):
        """A truncate, a growth, reads and a sync by somebody else, each within its bound."""
        self.truncate_cycle()
        waits = self.foreign.ask("waits", 20)
        longest = {name: max(list_) / 1e6 for name, list_ in waits.items() if isinstance(list_, list)}
        print(f"  {what}: longest waits of others in ms: " + ", ".join(f"{k} {v:.0f}" for k, v in longest.items()), flush=True)
        for name in ("truncate", "grow", "open", "read"):
            self.expect(longest.get(name, 0) <= FENCED_BY_MS, f"{what}: {name} waited {longest.get(name, 0):.0f} of {FENCED_BY_MS} ms")

    def lives(self, what):
        info = self.receiver.ask("info", 20)
        self.expect(not info["fenced"] and info["rkey"] == self.first_info["rkey"],
                    f"{what}: the lease is there, with its keys: {info['events']}")

    # ---- the faults ----

    def full(self):
        """No block is left when bounce pages are flushed."""
        self.on_disk(32, True)
        self.begin()
        self.disk.fill()
        self.stream()
        self.ask(self.receiver, "quiet")
        self.sync_fails({errno.ENOSPC}, "disk full")
        self.freeze_fails({errno.ENOSPC}, "disk full")
        self.kept("disk full")
        self.ask(self.receiver, "resume")
        self.others_go_on("disk full")
        self.ask(self.receiver, "quiet")
        self.sync_fails({errno.ENOSPC}, "still full")
        self.disk.make_room()
        self.durable("there is room again")
        self.lives("after it")

    def full_frozen(self):
        """No block is left when a frozen store is thawed."""
        self.args.size *= 16  # so that pages are left which have no block yet
        self.on_disk(64, True)
        self.begin()
        self.ask(self.receiver, "quiet")
        self.ask(self.foreign, "freeze 20000")
        self.disk.fill()
        self.ask(self.receiver, "resume")
        self.counters.advance(400, self.sender, 60)
        self.ask(self.receiver, "quiet")
        thawed = self.ask(self.foreign, "thaw")
        took = thawed["wait_ns"] / 1e6
        self.expect(took <= FENCED_BY_MS, f"disk full: the thaw returned after {took:.0f} of {FENCED_BY_MS} ms")
        self.event("fenced")
        why = self.receiver.ask("info", 20)["fenced_why"]
        # EIO where ext4 gives the page a block and refuses the write fault all the same (store/inside_writer.cc).
        known = ("No space left on device", "Input/output error")
        self.expect(why.startswith("writing to the file: ") and any(k in why for k in known),
                    f"disk full: the application is told FENCED: {why}")
        self.kept("disk full")
        self.truncate_within(self.args.size // 2, FENCED_BY_MS, "disk full, the lease is gone")

    def failing(self):
        """The disk does not take what is written."""
        self.on_disk(32, False)
        self.begin()
        self.disk.break_blocks(self.file)
        self.stream()
        self.ask(self.receiver, "quiet")
        self.sync_fails({errno.EIO}, "the disk fails")
        self.kept("the disk fails")
        self.disk.mend()
        self.durable("the disk works again")
        self.lives("after it")

    def read_only(self):
        """The file system goes read-only: asked for, which the kernel refuses as long as the file is leased, and by an error."""
        self.on_disk(32, False)
        self.begin()
        try:
            run("mount", "-o", "remount,ro", self.disk.mount)
            self.expect(False, "remount,ro of a leased file's file system is refused")
        except RuntimeError as refused:
            print(f"  {refused}", flush=True)
        self.disk.error_found()
        self.stream()
        self.ask(self.receiver, "quiet")
        self.sync_fails({errno.EROFS, errno.EIO}, "read-only")
        self.kept("read-only")

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

    def end(self):
        for program in reversed(self.programs):
            program.end(10)
        self.programs.clear()
        if self.disk:
            self.disk.close()


def main():
    status = 0
    names, others = sys.argv[1], sys.argv[2:]
    for name in names.split(","):
        args = parse(others)
        args.name = "fault_" + name + "_" + args.backing.replace("-", "_")
        args.daemon_options += f" --fence-deadline-ms {FENCE_MS}"
        print(f"-- {name} {args.backing}", flush=True)
        faults = Faults(args)
        try:
            getattr(faults, name)()
        except (Died, Refused, RuntimeError) as died:
            faults.problems.append(str(died))
        try:
            faults.end()
        except RuntimeError as error:
            faults.problems.append(str(error))
        for problem in faults.problems:
            print(f"NOT OK: {name} {args.backing}: {problem}")
        status = status or bool(faults.problems)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
