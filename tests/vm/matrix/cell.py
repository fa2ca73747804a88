# SPDX-License-Identifier: Apache-2.0
"""One cell of the matrix: a break, done by another process while a remote peer writes, reads and counts; then every byte is
looked at. A cell has a daemon, a receiver, a peer and a file of its own."""
import errno
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "load"))
from process import Died  # noqa: E402
from row import FILE_GROUP, FOREIGN, PAGE, RECALL_DEADLINE_MS, RECEIVER, Refused, Row  # noqa: E402

OPERATIONS = 200  # of the peer, at least
# P2: the recall's deadline and twice the fence's. What the daemon writes itself has work-deadline-ms.
BOUND_MS, WORK_BOUND_MS = RECALL_DEADLINE_MS + 1000, RECALL_DEADLINE_MS + 5000

# What has to be held, by the break table: there each backing has something to do before the operation goes on.
CHANGES = ("punch", "collapse", "insert", "write-direct")
OF_DESCRIPTORS = CHANGES + ("write", "read")


def has_to_be_held(guard, backing, what):
    """By the guard; what is asked of the daemon itself (sync, freeze, revoke) always is."""
    if what in ("unlink", "rename-over"):
        return False
    if what in ("truncate", "open-truncate", "sync", "freeze", "revoke"):
        return True
    if guard == "precontent":
        return backing == "bounce" or (backing == "direct" and what in CHANGES)
    return guard == "lease" and backing in ("direct", "bounce")  # the open before it


def is_covered(guard, backing, what):
    """The lease guard holds an open, and not what is done by the descriptor afterwards."""
    return guard == "precontent" or (guard == "lease" and what not in OF_DESCRIPTORS) or backing.startswith("odp")


def why_refused(fs, backing):
    """What is known of a registration that the kernel refuses: the kernel facts (../shared/facts.md, section 1), by their lines."""
    if backing.startswith("odp"):
        return 'facts 1, "ext4, xfs, btrfs MAP_SHARED ..., ODP on rxe"'
    return 'facts 1, "ext4 on DAX, pinned, any access"' if fs == "dax" else 'facts 1, "ext4, xfs, btrfs MAP_SHARED, write"'


class NotThere(Exception):
    """The kernel or the file system does not have it: tried, with this errno."""


class Cell(Row):
    def __init__(self, args, what):
        super().__init__(args)
        self.what = what
        self.waits_ms, self.was_held, self.ended, self.tried = [], [], False, ""
        self.stalled, self.only_the_machine = "", False

    def perform(self, command):
        """A foreign operation, timed there."""
        answer = self.foreign.ask(command, 60)
        self.waits_ms.append(answer.get("wait_ns", 0) / 1e6)
        if answer["code"] in (errno.EOPNOTSUPP, errno.EINVAL):
            raise NotThere(f"{command.split()[0]}: errno {answer['code']} ({os.strerror(answer['code'])})")
        if answer["code"]:
            self.sum["foreign_errors"] += 1
            self.problems.append(f"{command}: {os.strerror(answer['code'])} {answer.get('text', '')}")
        return answer

    def some_pages(self):
        """Whole pages that may be changed, and are not the last."""
        count = self.random.randrange(1, 16)
        return self.random.randrange(max(self.floor, 1), self.args.size // PAGE - count - 1), count

    def grow_back(self):
        self.ask(self.foreign, f"truncate {self.args.size}")
        self.ask(self.foreign, f"extended {self.ask(self.receiver, 'extend')['now_ns']}")

    # ---- the breaks ----

    def truncate(self):
        size = self.cut_size()
        self.perform(f"truncate {size}")
        self.told(size)
        self.stream()
        self.grow_back()

    def change(self):
        for _ in range(3):
            self.perform("{} {} {}".format(self.what, *self.some_pages()))
            self.stream()

    punch = write = write_direct = change

    def collapse(self):
        self.perform("collapse {} {}".format(*self.some_pages()))
        self.grow_back()

    def insert(self):
        self.perform("insert {} {}".format(*self.some_pages()))
        self.ask(self.foreign, f"truncate {self.args.size}")

    def read(self):
        for _ in range(3):
            self.count(self.perform("read"))
            self.stream()

    def open_truncate(self):
        self.perform("open-truncate")
        self.grow_back()

    def sync(self):
        for _ in range(3):
            self.perform("sync")
            self.stream()

    def freeze(self):
        for _ in range(2):
            self.sum["unsettled"] += self.perform("freeze 20000").get("unsettled", 0)
            self.count(self.ask(self.foreign, "copy"))
            self.stream()
            self.count(self.ask(self.foreign, "copy"))
            self.perform("thaw")
            self.stream()

    def revoke(self):
        began = time.monotonic()
        code, said = self.control("revoke", "--file", self.file)
        self.waits_ms.append((time.monotonic() - began) * 1000)
        if code or "1 lease revoked" not in said:
            self.problems.append(f"mrleasectl revoke ended with {code}: {said.strip()}")
        self.ended = True
        self.ask(self.foreign, "ended")

    def unlink(self):
        self.keep_an_eye_on_the_file()
        self.perform("unlink")
        if os.path.exists(self.file):
            self.problems.append("the name is still there")

    def rename_over(self):
        self.keep_an_eye_on_the_file()
        self.perform("rename-over")
        if os.path.getsize(self.file) != 0:
            self.problems.append("the file that took the name is not the empty one")

    # ---- before and after ----

    def keep_an_eye_on_the_file(self):
        """Its name goes: the judge reaches it by the receiver's descriptor."""
        folder = f"/proc/{self.receiver.pid}/fd"
        self.by_descriptor = next(f"{folder}/{fd}" for fd in os.listdir(folder) if os.readlink(f"{folder}/{fd}") == self.file)

    def judge(self):
        """Who looks whether all is there: the other user of the file, or, when it has no name any more, root."""
        if self.what not in ("unlink", "rename-over"):
            return self.foreign
        judge = self.start("mrl_judge", [self.args.bin + "/mrl_foreign", "--file", self.by_descriptor, "--size", str(self.args.size),
                                         "--table", self.table, "--plain"])
        judge.line(20)
        return judge

    def verify(self):
        if not self.ended:
            self.ask(self.receiver, "quiet")
            # An O_DIRECT write that meets a page which the device dirties again is told to who syncs next, once: EIO
            # (dio_warn_stale_pagecache() in mm/filemap.c). What is in the file after that is looked at like anything else.
            if self.what != "write-direct" or self.receiver.ask("sync", 60)["code"] not in (0, errno.EIO):
                self.ask(self.receiver, "sync")
            elif self.receiver.ask("sync", 60)["code"]:
                self.problems.append("the second sync failed, too")
        judge = self.judge()
        self.count(self.ask(judge, "check-direct"), durable=not self.ended)
        self.count(self.ask(judge, "check"))
        if not self.ended:
            self.ask(self.receiver, "resume")
            self.stream()

    def control(self, *words):
        """(exit status, output) of mrleasectl."""
        program = os.path.join(self.args.bin, "../../../daemon/ctl/mrleasectl")
        done = subprocess.run([program, "--address", self.work + "/admin.sock", *words], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, check=False)
        return done.returncode, done.stdout

    def held_reads(self):
        """The audit log leaves out reads that nobody was recalled for."""
        counts = json.loads(self.control("--json", "stats")[1])["breaks"]
        return [each for each in counts if each["labels"].get("kind") == "read"]

    def held(self, seconds):
        """What the daemon tells of the break, which is when it is over: after the answer."""
        end = time.monotonic() + seconds
        while True:
            if self.what == "read" and self.held_reads():
                return self.held_reads()
            with open(self.work + "/mrleased.log", errors="replace") as f:
                lines = [line for line in f if f"audit: {self.file} " in line]
            # Not what grow_back() does.
            lines = [line for line in lines if f" to {self.args.size} bytes" not in line and "lease revoked" not in line]
            if lines or time.monotonic() > end:
                return lines
            time.sleep(0.02)

    def run(self):
        started = time.monotonic()
        try:
            os.chmod(self.args.dir, 0o777)  # so that others may unlink and rename
            self.start_peers()
            self.stream()
            getattr(self, self.what.replace("-", "_"))()
            due = has_to_be_held(self.first_info["guard"], self.args.backing, self.what)
            self.was_held = self.held(3 if due else 0)
            if due and not self.was_held:
                self.problems.append(f"guard {self.first_info['guard']} has held nothing")
            while not self.ended and self.counters.ops() < OPERATIONS:
                self.stream()
            self.verify()
        except Refused as refused:
            self.refused = str(refused)
        except NotThere as reason:
            self.tried = str(reason)
        except Died as died:
            self.problems.append(str(died))
        row = self.finish()
        return self.as_cell(row, time.monotonic() - started)

    def as_cell(self, row, seconds):
        guard = row["guard"]
        cell = dict(kernel=row["kernel"], fs=self.args.fs, backing=self.args.backing, **{"break": self.what}, result="passed", reason="",
                    ops=row["ops"], errors=row["errors"], lost=row["lost"] + row["not_durable"], torn=row["torn"],
                    wait_ms_max=round(max(self.waits_ms, default=0), 3), stall_ms_max=row["stall_ms_max"], guard=guard,
                    transparent=row["transparent"], covered=is_covered(guard, self.args.backing, self.what), held=len(self.was_held), seconds=round(seconds, 1))
        if self.refused or self.tried:
            known = why_refused(self.args.fs, self.args.backing) if self.refused else "the file system has no such call, fallocate(2), open(2)"
            cell.update(result="not applicable", reason=f"{known}: {self.refused or self.tried}")
            return cell
        wrong = list(self.wrong(row, cell))
        self.only_the_machine = bool(self.stalled) and wrong == [self.stalled] and row["gate_ms_max"] <= self.args.budget
        if wrong:
            cell.update(result="failed" if cell["covered"] or row["errors"] else "not covered", reason="; ".join(wrong))
        return cell

    def wrong(self, row, cell):
        yield from row["problems"]
        if cell["ops"] < OPERATIONS:
            yield f"only {cell['ops']} operations"
        if row["errors"] and not self.ended:
            yield f"{row['errors']} operations of the peer failed: {row['failures']}"
        if cell["lost"] or cell["torn"]:
            yield f"{cell['lost']} pages lost, {cell['torn']} torn: {row['first']}"
        if row["foreign_errors"]:
            yield "operations of others failed"
        bound = WORK_BOUND_MS if self.what in ("sync", "freeze", "revoke") else BOUND_MS
        if cell["wait_ms_max"] > bound:
            yield f"waited {cell['wait_ms_max']:.0f} ms, the bound is {bound}"
        if row["transparent"] and self.args.backing == "odp" and not self.ended and row["stall_ms_max"] > self.args.budget:
            self.stalled = (f"the peer stalled {row['stall_ms_max']:.0f} ms, its budget is {self.args.budget}; the longest gate was "
                            f"{row['gate_ms_max']:.0f} ms, and the sender was not run for {row['away_ms']:.0f} ms")
            yield self.stalled
