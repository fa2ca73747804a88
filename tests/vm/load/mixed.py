#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two receivers with a half each of one file, and a backing each: mixed.py FIRST SECOND ... (the options of drive.py; --backing is not looked
at, --size is a half's). Peers stream into both, while others truncate the second half, freeze and sync the file, and read and write both
by workers of io_uring. Writes one row for each half, OUT.first.json and OUT.second.json."""
import sys
import time

from drive import parse, tell
from process import Died
from row import PAGE, Refused, Row

PORTS = {"first": 7471, "second": 7472}


class Half(Row):
    def __init__(self, which, args, backing, first=None):
        args.backing = backing
        args.name += "_" + which
        args.phases = "truncate freeze" if first else "freeze"
        self.which, self.first_half = which, first
        super().__init__(args)

    def make_file(self):
        if self.first_half:
            self.file = self.first_half.file
            return
        size, self.args.size = self.args.size, 2 * self.args.size
        super().make_file()
        self.args.size = size

    def start_daemon(self):
        if not self.first_half:
            return super().start_daemon()
        self.socket, self.daemon = self.first_half.socket, self.first_half.daemon
        return ["--socket", self.socket]

    def begin(self):
        return self.args.size if self.first_half else 0

    def part(self):
        return ["--begin", str(self.begin()), "--length", str(self.args.size)]

    def foreigners(self):
        return ["--begin", str(self.begin()), "--uring"]

    def address(self):
        return super().address() + ["--port", str(PORTS[self.which])]

    def write_cycle(self):
        """By others, while the peer writes as well. One page, and several."""
        last = self.args.size // PAGE
        for pages in (1, 3):
            self.ask(self.foreign, f"write {self.random.randrange(self.floor, last - pages)} {pages}")
        self.stream()


def halves(first, second, arguments):
    upper = Half("first", parse(arguments), first)
    return upper, Half("second", parse(arguments), second, upper)


def run(upper, lower, cycles):
    for half in (upper, lower):
        half.start_peers()
    for half in (upper, lower):
        half.stream()
    for number in range(cycles):
        lower.truncate_cycle()
        for half in (upper, lower):
            half.write_cycle()
            half.freeze_cycle()
            half.check_cycle(number)


def main():
    backings, arguments = sys.argv[1:3], ["--backing", "none"] + sys.argv[3:]
    upper, lower = halves(*backings, arguments)
    began = time.monotonic()
    try:
        run(upper, lower, upper.args.cycles)
    except (Died, Refused) as died:
        upper.problems.append(str(died))
    for half in (lower, upper):  # whose daemon it is
        row = half.finish()
        row["seconds"] = round(time.monotonic() - began, 1)
        tell(row, f"{half.args.out}.{half.which}.json")


if __name__ == "__main__":
    main()
