#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A row of the demo while the daemon, a service of systemd, is killed again and again: restarts.py --kills N + the options
of drive.py. Nobody may notice more than a wait. Exit 0: nothing was lost, no error, no lease fenced, the keys are the same."""
import os
import random
import signal
import subprocess
import sys
import threading
import time

from drive import parse
from row import Row

UNIT, SOCKET = "mrleased.service", "/run/mrlease/mrleased.sock"


def systemctl(*words):
    return subprocess.run(["systemctl", *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          timeout=120).stdout.strip()


def shown(name):
    return systemctl("show", "-P", name, UNIT)


class Killer(threading.Thread):
    """Kills the daemon at random moments, also while it is starting."""
    def __init__(self, kills, seed):
        super().__init__(daemon=True)
        self.kills, self.done, self.random = kills, 0, random.Random(seed)

    def run(self):
        while self.done < self.kills:
            time.sleep(self.random.uniform(0.05, 1.0))
            pid = int(shown("MainPID") or 0)
            if pid <= 1:
                continue
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.done += 1


class UnderSystemd(Row):
    def start_daemon(self):
        self.socket = SOCKET
        print(systemctl("start", "mrleased.socket", UNIT) or "started", flush=True)
        return ["--socket", SOCKET]


def main():
    at = sys.argv.index("--kills")
    kills = int(sys.argv[at + 1])
    args = parse(sys.argv[1:at] + sys.argv[at + 2:])
    row = UnderSystemd(args)
    killer = Killer(kills, args.seed)
    start_peers = row.start_peers

    def start_then_kill():
        start_peers()
        killer.start()
    row.start_peers = start_then_kill
    result = row.run()
    show = ("name", "backing", "guard", "ops", "errors", "lost", "torn", "not_durable", "truncates", "freezes",
            "unsettled", "first", "foreign_ops", "foreign_wait_ms_max", "stall_ms_max", "keys_same", "events", "seconds")
    print("row " + " ".join(f"{k}={result[k]}" for k in show), flush=True)
    print(f"waits={result['foreign_wait_ms_by']}", flush=True)
    print(f"kills={killer.done} restarts={shown('NRestarts')} state={shown('ActiveState')}", flush=True)
    bad = list(result["problems"])
    bad += [f"{k} is {result[k]}" for k in ("errors", "lost", "torn", "not_durable", "foreign_errors") if result[k]]
    if not result["keys_same"]:
        bad.append("the keys have changed")
    if "fenced" in result["events"] or "disconnected" in result["events"]:
        bad.append("the client was told: " + result["events"])
    if killer.done < kills:
        bad.append(f"only {killer.done} of {kills} kills were done: more cycles are needed")
    if int(shown("NRestarts") or 0) < killer.done:
        bad.append("systemd has not restarted it as often as it was killed")
    if result["truncates"] == 0:
        bad.append("nothing was truncated")
    for problem in bad:
        print("NOT OK: " + problem, flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
