#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A row of the demo while the daemon, a service of systemd, is killed or replaced again and again:
restarts.py --kills N | --upgrades N --packages "A.deb B.deb" + the options of drive.py. Nobody may notice more than a wait.
Exit 0: nothing was lost, no error, no lease fenced, the keys are the same."""
import argparse
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


class Trouble(threading.Thread):
    """`count` times, at random moments; also while the daemon is starting."""
    def __init__(self, count, seed):
        super().__init__(daemon=True)
        self.count, self.done, self.random, self.problems = count, 0, random.Random(seed), []

    def run(self):
        while self.done < self.count and not self.problems:
            time.sleep(self.random.uniform(0.05, 1.0))
            pid = int(shown("MainPID") or 0)
            if pid > 1:
                self.done += self.strike(pid)


class Killer(Trouble):
    def strike(self, pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return 0
        return 1

    def judge(self):
        enough = int(shown("NRestarts") or 0) >= self.done
        return self.problems + ([] if enough else ["systemd has not restarted it as often as it was killed"])


class Upgrader(Trouble):
    """One package after the other; the first one is installed."""
    def __init__(self, count, seed, packages):
        super().__init__(count, seed)
        self.packages = packages

    def strike(self, pid):
        package = self.packages[(self.done + 1) % len(self.packages)]
        got = subprocess.run(["dpkg", "-i", package], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if got.returncode:
            self.problems.append("dpkg -i: " + " / ".join(got.stdout.strip().splitlines()[-3:]))
        elif int(shown("MainPID") or 0) in (0, pid):
            self.problems.append("after dpkg -i the old daemon runs, or none")
        return 1

    def judge(self):
        return self.problems


class UnderSystemd(Row):
    def start_daemon(self):
        self.socket = SOCKET
        print(systemctl("start", "mrleased.socket", UNIT) or "started", flush=True)
        return ["--socket", SOCKET]

    def start_peers(self):
        super().start_peers()
        self.trouble.start()

    def goes_on(self, cycles_done):
        return super().goes_on(cycles_done) or self.trouble.is_alive()


def main():
    p = argparse.ArgumentParser(add_help=False)
    p.add_argument("--kills", type=int, default=0)
    p.add_argument("--upgrades", type=int, default=0)
    p.add_argument("--packages", default="")
    own, others = p.parse_known_args()
    args = parse(others)
    row = UnderSystemd(args)
    trouble = row.trouble = Killer(own.kills, args.seed) if own.kills else Upgrader(own.upgrades, args.seed, own.packages.split())
    result = row.run()
    show = ("name", "backing", "guard", "ops", "errors", "lost", "torn", "not_durable", "truncates", "freezes",
            "unsettled", "first", "foreign_ops", "foreign_wait_ms_max", "stall_ms_max", "keys_same", "events", "seconds")
    print("row " + " ".join(f"{k}={result[k]}" for k in show), flush=True)
    print(f"waits={result['foreign_wait_ms_by']}", flush=True)
    print(f"{type(trouble).__name__}={trouble.done} restarts={shown('NRestarts')} state={shown('ActiveState')}", flush=True)
    bad = list(result["problems"]) + trouble.judge()
    bad += [f"{k} is {result[k]}" for k in ("errors", "lost", "torn", "not_durable", "foreign_errors") if result[k]]
    if not result["keys_same"]:
        bad.append("the keys have changed")
    if "fenced" in result["events"] or "disconnected" in result["events"]:
        bad.append("the client was told: " + result["events"])
    if trouble.done < trouble.count:
        bad.append(f"only {trouble.done} of {trouble.count} were done")
    if result["truncates"] == 0:
        bad.append("nothing was truncated")
    for problem in bad:
        print("NOT OK: " + problem, flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
