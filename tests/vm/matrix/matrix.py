#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""matrix.py --out FILE --fs NAME=DIR... [--only WORDS]: in the guest, as root: every cell of this kernel, one JSON object on a line
of FILE each. WORDS: cells whose name "FS BACKING BREAK" has all of them (FS: as given), or alternatives of such, split by commas."""
import argparse
import json
import os
import shutil
import sys

from cell import Cell
from names import BACKINGS, BREAKS

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "load"))
from drive import parse  # noqa: E402


def is_wanted(name, only):
    return not only or any(set(words.split()) <= set(name.split()) for words in only.split(","))


def cell_args(options, fs, folder, backing, what):
    arguments = ["--backing", backing, "--name", f"{fs}-{backing}-{what}", "--dir", folder, "--bin", options.bin, "--daemon", options.daemon,
                 "--out", "/dev/null", "--ops", "80", "--size", str(1 << 20), "--odd-cuts", "0"]
    arguments += ["--quirk"] * backing.startswith("odp") + ["--all-pages"] * (what == "open-truncate")
    args = parse(arguments)
    args.fs = fs
    return args


def run_cell(options, fs, folder, backing, what):
    """A peer that stalled, and not at a gate of ours, may have waited for the disk, for a packet that was lost, or for this machine (seen
    once: 299 ms, where 30 runs had 5 to 18). What is mrlease's comes again."""
    before = []
    while True:
        cell, result = try_cell(options, fs, folder, backing, what)
        if not cell.only_the_machine or len(before) == 2:
            break
        before.append(cell.stalled)
        print(f"{fs:5} {backing:15} {what:13} once more: {cell.stalled}", flush=True)
    if result["result"] == "passed":
        result["reason"] = "; ".join([result["reason"]] * bool(result["reason"]) + [f"not again: {each}" for each in before])
    return result


def try_cell(options, fs, folder, backing, what):
    folder = os.path.join(folder, "matrix")
    os.makedirs(folder, exist_ok=True)
    cell = Cell(cell_args(options, fs, folder, backing, what), what)
    result = cell.run()
    if result["result"] == "failed" and options.keep:
        shutil.copytree(cell.work, os.path.join(options.keep, cell.name), dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock", "table*"))
    shutil.rmtree(cell.work, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    return cell, result


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--out", required=True)
    p.add_argument("--fs", action="append", required=True)
    p.add_argument("--only", default="")
    p.add_argument("--bin", required=True)
    p.add_argument("--daemon", required=True)
    p.add_argument("--keep", default="", help="logs of failed cells go there")
    options = p.parse_args()
    with open(options.out, "w", encoding="utf-8") as out:
        for fs, folder in (each.split("=") for each in options.fs):
            for backing in BACKINGS:
                refused = None  # the registration is the same in every cell
                for what in BREAKS:
                    if not is_wanted(f"{fs} {backing} {what}", options.only):
                        continue
                    result = dict(refused, **{"break": what}) if refused else run_cell(options, fs, folder, backing, what)
                    if result["result"] == "not applicable" and not result["ops"]:
                        refused = result
                    out.write(json.dumps(result) + "\n")
                    out.flush()
                    print(f"{fs:5} {backing:15} {what:13} {result['result']:14} ops {result['ops']:6} held {result['held']:2} wait "
                          f"{result['wait_ms_max']:8.1f} ms {result['seconds']:4.1f} s {result['reason'][:150]}", flush=True)


if __name__ == "__main__":
    main()
