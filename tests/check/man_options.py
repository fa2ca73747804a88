#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""man_options.py MRLEASED MAN_PAGE: the man page's options are the program's. With --write, makes them so."""
import subprocess
import sys

BEGIN = '.\\" What follows is the output of mrleased --help-man; the test check.man_options compares.\n'
END = '.\\" Here it ends.\n'


def main():
    program, page = sys.argv[1], sys.argv[2]
    options = subprocess.run([program, "--help-man"], check=True, capture_output=True, text=True).stdout
    with open(page, encoding="utf-8") as f:
        head, rest = f.read().split(BEGIN)
    told, tail = rest.split(END)
    if "--write" in sys.argv:
        with open(page, "w", encoding="utf-8") as f:
            f.write(head + BEGIN + options + END + tail)
    elif told != options or not options:
        print(f"{page} and {program} --help-man differ: run {sys.argv[0]} {program} {page} --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
