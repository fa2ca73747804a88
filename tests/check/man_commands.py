#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""man_commands.py MRLEASECTL MAN_PAGE: every command and every option of the program stands in its man page."""
import subprocess
import sys


def words(program, *context):
    return subprocess.run([program, "__complete", *context], check=True, capture_output=True, text=True).stdout.split()


def main():
    program = sys.argv[1]
    with open(sys.argv[2], encoding="utf-8") as f:
        page = f.read().replace("\\-", "-")
    commands = words(program, "")
    missing = [c for c in commands if not any(line.startswith((f".B {c}", f".BI {c} ", f".BI \"{c} ")) for line in page.split("\n"))]
    for context in [[], *([c] for c in commands)]:
        missing += [f"{' '.join(context)} {o}" for o in words(program, *context, "--") if o not in ("--help", "--version") and o not in page]
    print("\n".join(f"not in {sys.argv[2]}: {m}" for m in missing) or f"{len(commands)} commands, all told")
    return 1 if missing or not commands else 0


if __name__ == "__main__":
    sys.exit(main())
