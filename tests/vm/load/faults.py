#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Disks that are full, fail, or go read-only under a lease, and limits of the daemon: faults.py NAME,NAME... --backing B ... (the
options of drive.py). What the application is told, whether its data is there, how long others wait, and what is on the disk when
the fault is over. Exit 0: all was as it must be."""
import sys

from daemon_limits import DaemonLimits
from disk_faults import DiskFaults
from drive import parse
from process import Died
from row import FENCE_MS, Refused


class Faults(DiskFaults, DaemonLimits):
    """Each method without an argument is one."""


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
