#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""./run demo: boot each kernel, run its rows, print the tables, write the JSON, judge."""
import argparse
import json
import os
import shutil
import subprocess
import sys

from report import judge, print_tables

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def parse():
    p = argparse.ArgumentParser(prog="./run demo")
    p.add_argument("--json", metavar="FILE", help="write the rows as a list of objects")
    p.add_argument("--kernels", default="6.1 6.12 7.3")
    p.add_argument("--cycles", type=int, default=25, help="of truncate, freeze and sync, per row (default 25)")
    p.add_argument("--rows", default="", help="only these rows, by name")
    p.add_argument("--break-something", action="store_true",
                   help="a control run: the daemon answers guards without recalling; it must lose something")
    p.add_argument("--results", default=ROOT + "/build/results/demo")
    return p.parse_args()


def run_kernel(args, version):
    where = subprocess.run([ROOT + "/tests/support/kernel", version], check=True, text=True, stdout=subprocess.PIPE)
    results = f"{args.results}/{version}"
    shutil.rmtree(results, ignore_errors=True)
    os.makedirs(results)
    print(f"== kernel {os.path.basename(where.stdout.strip())}: booting", flush=True)
    env = dict(os.environ, RESULTS=results, MRLEASE_ROWS=args.rows, LIMIT=str(240 + 60 * args.cycles))
    command = [HERE + "/rig/boot", where.stdout.strip(), HERE + "/demo-guest.sh", str(args.cycles)]
    if args.break_something:
        command.append("--break-something")
    status = subprocess.run(command, env=env).returncode
    return status, load_rows(results + "/rows")


def load_rows(directory):
    names = sorted(os.listdir(directory), key=lambda n: os.stat(f"{directory}/{n}").st_mtime_ns) \
        if os.path.isdir(directory) else []
    rows = []
    for name in names:
        if name.endswith(".json"):
            with open(f"{directory}/{name}") as f:
                rows.append(json.load(f))
    return rows


def open_json(path):
    try:
        return open(os.path.join(os.environ.get("MRLEASE_CWD", "."), path), "w")
    except OSError as error:
        sys.exit(f"./run demo: --json {path}: {error.strerror}")


def main():
    args = parse()
    if args.json:
        open_json(args.json).close()  # now, not after minutes of work
    args.kernels = args.kernels.replace(",", " ")
    rows, bad = [], []
    for version in args.kernels.split():
        status, more = run_kernel(args, version)
        rows += more
        if status:
            bad.append(f"kernel {version}: the guest's script failed ({status}); see {args.results}/{version}")
        if not more:
            bad.append(f"kernel {version}: no rows")
    print()
    print_tables(rows)
    if args.json:
        with open_json(args.json) as f:
            json.dump(rows, f, indent=1)
            f.write("\n")
    bad += judge(rows, args.break_something)
    for line in bad:
        print("FAILED: " + line)
    if not bad:
        count = sum(1 for row in rows if row["mrlease"])
        print("OK: the control run lost what it must" if args.break_something else
              f"OK: nothing lost, nothing torn, no operation failed in {count} rows under mrlease")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
