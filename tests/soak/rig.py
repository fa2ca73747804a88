#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""rig.py MINUTES OUT BIN: in the guest, under systemd. Round after round, one daemon: remote peers stream into leased files of every backing
while others truncate, freeze and sync and everything is checked byte by byte; a client is killed in the middle of it; the
configuration is read again."""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "vm", "load"))
from crashes import Life  # noqa: E402
from drive import parse  # noqa: E402
from process import Died  # noqa: E402
from regions import memory_regions  # noqa: E402
from row import Refused  # noqa: E402
from steady import Steady  # noqa: E402
from systemd import SOCKET, UNIT, UnderSystemd, pid_of_daemon, shown, systemctl, wait_until  # noqa: E402

ROWS = (["bounce", "--unaligned"], ["odp", "--quirk"], ["odp-cooperative", "--quirk"], ["direct", "--dir", "/mnt"])
# Without cooperative odp: what was written under a freeze dies with its client there (README).
DYING = (["bounce", "--unaligned"], ["odp", "--quirk"], ["direct", "--dir", "/mnt"])
WRONG = ("errors", "lost", "torn", "not_durable", "foreign_errors")


def arguments(programs, name, seed, row):
    return parse(["--backing", *row, "--name", name, "--size", "1048576", "--seed", str(seed), "--cycles", "2", "--bin", programs,
                  "--daemon", "none", "--out", "/dev/null"])


def stream(steady, args):
    path = f"{args.dir}/{args.name}"
    if os.path.exists(path):  # as in Life
        os.unlink(path)
    result = UnderSystemd(args).run()
    steady.problems += [f"{args.name}: {problem}" for problem in result["problems"]]
    steady.problems += [f"{args.name}: {what} is {result[what]} {result['first']}" for what in WRONG if result[what]]
    steady.count(**{f"{args.backing} operations": result["ops"], "truncates": result["truncates"], "freezes": result["freezes"],
                    "syncs": result["syncs"], "foreign operations": result["foreign_ops"]})


def kill(steady, args, rng):
    life = Life(args, SOCKET)
    try:
        life.live_and_die(rng)
        steady.count(**{"clients killed": 1})
    except (Died, Refused) as died:
        life.problems.append(str(died))
    steady.problems += [f"{args.name}: {problem}" for problem in life.end()]


def main():
    minutes, out, programs = float(sys.argv[1]), sys.argv[2], sys.argv[3]
    rng, number = random.Random(1), 0
    systemctl("start", "mrleased.socket", UNIT)
    steady = Steady(wait_until(pid_of_daemon, 30))
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end and not steady.problems:
        for row in ROWS:
            stream(steady, arguments(programs, f"soak-{row[0]}", number, row))
        row = DYING[number % len(DYING)]
        kill(steady, arguments(programs, "soak-killed", number, row), rng)
        if systemctl("reload", UNIT):
            steady.problems.append("systemctl reload says something")
        steady.count(rounds=1, reloads=1)
        number += 1
        if pid_of_daemon() != steady.pid:
            steady.problems.append("the daemon is another one")
            break
        steady.look(kept=int(shown("NFileDescriptorStore")), regions=len(memory_regions()))
        print(f"round {number}: {int(end - time.monotonic())} s left", file=sys.stderr, flush=True)
    return steady.report("In the rig, " + os.uname().release, out)


if __name__ == "__main__":
    sys.exit(main())
