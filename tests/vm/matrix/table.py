#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""table.py [--json FILE] [--markdown FILE] [--expected FILE] [--update] CELLS...: what matrix.py has written, of one kernel or more.
Prints what differs from the expected table, and exits 1 if anything does, or if a cell failed. --update: makes the table that of
now, for whoever reviews it. Only cells that were run are compared."""
import argparse
import json
import os
import sys

from names import BACKINGS, BREAKS, SHORT

SIGNS = {"passed": "P", "not applicable": "N", "not covered": "U", "failed": "F"}
# ?: the guard does not cover it, and whether it goes well is a matter of time.
MEANING = {sign: {result} for result, sign in SIGNS.items()} | {"?": {"passed", "not covered"}}
HEAD = """# What each cell of the matrix comes to (tests/vm/matrix): P passed; N not applicable: the kernel or the file system refuses it,
# tried in each run; U not covered: no guard holds it, and it is lost; ? the same, and it may go well. What may not be: F.
# Columns: {}.
"""


def read(paths):
    cells = []
    for path in paths:
        with open(path, encoding="utf-8") as f:
            cells += [json.loads(line) for line in f]
    return cells


def short_kernel(release):
    return ".".join(release.split("-")[0].split(".")[:2])


def place(cell):
    return short_kernel(cell["kernel"]), cell["fs"], cell["backing"], cell["break"]


def parse_expected(path):
    """{(kernel, fs, backing, break): sign}"""
    expected = {}
    if not os.path.exists(path):
        return expected
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.startswith("#") or not line.strip():
                continue
            kernel, fs, backing, *signs = line.split()
            for what, sign in zip(BREAKS, signs, strict=True):
                expected[kernel, fs, backing, what] = sign
    return expected


def write_expected(path, expected):
    rows = sorted({key[:3] for key in expected}, key=lambda key: ([int(n) for n in key[0].split(".")], key[1], BACKINGS.index(key[2])))
    with open(path, "w", encoding="utf-8") as f:
        f.write(HEAD.format(", ".join(BREAKS)))
        for kernel, fs, backing in rows:
            signs = "  ".join(expected.get((kernel, fs, backing, what), "-") for what in BREAKS)
            f.write(f"{kernel:5} {fs:6} {backing:16} {signs}\n")


def differences(cells, expected):
    for cell in cells:
        sign = expected.get(place(cell), "-")
        if cell["result"] not in MEANING.get(sign, set()):
            yield f"{' '.join(place(cell))}: {cell['result']}, expected {sign}: {cell['reason'] or 'nothing is wrong with it'}"


def markdown(cells):
    """A table for each kernel, then why."""
    lines = []
    for kernel in dict.fromkeys(short_kernel(cell["kernel"]) for cell in cells):
        mine = {place(cell)[1:]: cell for cell in cells if short_kernel(cell["kernel"]) == kernel}
        lines += [f"## Linux {kernel}", "", "| fs | backing | " + " | ".join(SHORT) + " |", "|---" * (len(BREAKS) + 2) + "|"]
        for fs, backing in dict.fromkeys(key[:2] for key in mine):
            signs = [SIGNS[mine[fs, backing, what]["result"]] if (fs, backing, what) in mine else " " for what in BREAKS]
            lines.append(f"| {fs} | {backing} | " + " | ".join(signs) + " |")
        reasons = {}
        for cell in mine.values():
            if cell["reason"]:
                where = f"{cell['fs']} {cell['backing']}" + (f" {cell['break']}" if cell["ops"] else "")
                reasons.setdefault((cell["result"], cell["reason"]), []).append(where)
        lines.append("")
        for (result, reason), where in reasons.items():
            lines.append(f"- {result}: {', '.join(dict.fromkeys(where))}: {reason}")
        lines.append("")
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("cells", nargs="+")
    p.add_argument("--json")
    p.add_argument("--markdown")
    p.add_argument("--expected", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "expected.txt"))
    p.add_argument("--update", action="store_true")
    a = p.parse_args()
    cells = read(a.cells)
    if a.json:
        with open(a.json, "w", encoding="utf-8") as f:
            json.dump(cells, f, indent=1)
            f.write("\n")
    if a.markdown:
        with open(a.markdown, "w", encoding="utf-8") as f:
            f.write(markdown(cells))
    counts = {result: sum(cell["result"] == result for cell in cells) for result in SIGNS}
    print("matrix: " + ", ".join(f"{count} {result}" for result, count in counts.items()))
    expected = parse_expected(a.expected)
    if a.update:
        for cell in cells:
            before = expected.get(place(cell), "-")
            if cell["result"] not in MEANING.get(before, set()):
                sure = cell["covered"] or cell["result"] == "not applicable"
                expected[place(cell)] = SIGNS[cell["result"]] if sure else "?"
        write_expected(a.expected, expected)
    wrong = list(differences(cells, expected))
    print("\n".join("NOT OK: " + each for each in wrong) or "as expected")
    return 1 if wrong or counts["failed"] or not cells else 0


if __name__ == "__main__":
    sys.exit(main())
