#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The audit log in the journal: a client and an administrator break a lease in every way, then a client stops and is fenced:
audit.py + the options of drive.py. Exit 0: each is in the journal with who, what and how long."""
import json
import os
import signal
import subprocess
import sys

from drive import parse
from process import Died
from row import FOREIGN, RECEIVER, Refused
from systemd import UNIT, UnderSystemd, wait_until

BREAK, FENCE = "1f1fd649fdba480482f3fc0297bc688e", "a99f9482f49e466185f1ea5df9883398"  # daemon/admin/README.md


def mrleasectl(*words):
    got = subprocess.run(["mrleasectl", *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                         timeout=60)
    return "" if got.returncode == 0 else f"mrleasectl {' '.join(words)}: {got.stdout.strip()}"


class Audited(UnderSystemd):
    def play(self):
        self.start_peers()
        self.stream()
        self.truncate_cycle()
        self.freeze_cycle()
        self.ask(self.foreign, "sync")
        self.problems += filter(None, (mrleasectl("sync", self.file), mrleasectl("freeze", self.file, "--", "true")))
        self.revoke()
        self.stream()
        os.kill(self.receiver.pid, signal.SIGSTOP)
        self.ask(self.foreign, f"truncate {self.args.size // 2}")
        os.kill(self.receiver.pid, signal.SIGCONT)

    def revoke(self):
        """Of another file, whose client gives its lease back."""
        self.revoked = self.file + "-revoked"
        with open(self.revoked, "wb") as f:
            f.write(bytes(65536))
        os.chown(self.revoked, RECEIVER, RECEIVER)
        holder = self.start("lease_holder", [self.args.bin + "/../../support/lease_holder", self.socket, self.revoked, "bounce"])
        holder.process.stdout.readline()  # "lease N"
        self.problems += filter(None, [mrleasectl("revoke", "--file", self.revoked)])

    def run(self):
        try:
            self.play()
        except (Died, Refused) as end:
            self.problems.append(str(end))
        for program in reversed(self.programs):
            program.end(10)
        return self.problems


def records(message, file):
    """Of this file, oldest first. A field that came several times is a list."""
    out = subprocess.run(["journalctl", "-u", UNIT, "MESSAGE_ID=" + message, "MRLEASE_FILE=" + file, "-o", "json", "--no-pager"],
                         text=True, stdout=subprocess.PIPE, check=False, timeout=60).stdout
    return [json.loads(line) for line in out.splitlines()]


def is_whole(record, **wanted):
    """Has these fields, and who, how long, and whom it was waited for."""
    usec = {"MRLEASE_WAITED_USEC", "MRLEASE_TOOK_USEC"} & record.keys()
    return all(record.get("MRLEASE_" + name) == value for name, value in wanted.items()) and \
        usec and all(int(record[name]) > 0 for name in usec) and record.get("MESSAGE", "").startswith("audit: ")


def expect(found, what, problems):
    print(("ok: " if found else "NOT OK: ") + what, flush=True)
    if not found:
        problems.append(what)


def look(file, revoked, problems):
    breaks = records(BREAK, file)
    other = dict(BY_UID=str(FOREIGN), BY_COMM="mrl_foreign", RESULT="allowed")
    recalled = [r for r in breaks if "pid=" in str(r.get("MRLEASE_RECALLED"))]
    for kind, where in (("truncate", recalled), ("freeze", recalled), ("sync", breaks)):
        expect(any(is_whole(r, KIND=kind, **other) for r in where), f"a {kind} by another user", problems)
    for kind in ("freeze", "sync"):
        expect(any(is_whole(r, KIND=kind, SOURCE="admin") for r in breaks), f"a {kind} by the administrator", problems)
    expect(any(is_whole(r, KIND="revoke", SOURCE="admin") and "action=release" in str(r.get("MRLEASE_RECALLED"))
               for r in records(BREAK, revoked)), "a revoke by the administrator", problems)
    fenced = [r for r in breaks if "fenced=1" in str(r.get("MRLEASE_RECALLED"))]
    expect(any(is_whole(r, KIND="truncate", **other) for r in fenced), "the truncate that a client was fenced for", problems)
    expect(any(is_whole(r, CLIENT_UID=str(RECEIVER), CLIENT_COMM="mrl_receiver", MEANS="destroyed") for r in records(FENCE, file)),
           "the fence itself", problems)


def main():
    row = Audited(parse())
    problems = list(row.run())
    subprocess.run(["journalctl", "--sync"], check=False, timeout=60)
    try:
        wait_until(lambda: records(FENCE, row.file), 20)
    except TimeoutError:
        pass  # look() says what is missing
    look(row.file, getattr(row, "revoked", ""), problems)
    for problem in problems:
        print("NOT OK: " + problem, flush=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
