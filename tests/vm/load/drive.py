#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One row of the demo, in the guest, as root: a receiver, its remote peer and another user of the file. Again and
again: truncate and grow back, extend, freeze, copy twice, thaw, sync, and look whether anything is missing. Writes one
JSON object."""
import argparse
import json
import sys

from row import Row


def parse(arguments=None):
    p = argparse.ArgumentParser()
    p.add_argument("--backing", required=True)
    p.add_argument("--cycles", type=int, default=5)
    p.add_argument("--ops", type=int, default=60, help="operations of the sender between two steps")
    p.add_argument("--size", type=int, default=4 << 20)
    p.add_argument("--out", required=True)
    p.add_argument("--bin", required=True, help="directory of the load programs")
    p.add_argument("--daemon", required=True)
    p.add_argument("--dir", default="/mnt/e")
    p.add_argument("--address", default="", help="of the receiver's device; the rig's if not given")
    p.add_argument("--budget", type=int, default=200)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--stores", type=int, default=0, help="pages that threads of the receiver store into")
    p.add_argument("--all-pages", action="store_true", help="no pages are spared from breaks: no atomics, and reads are not checked")
    p.add_argument("--stop-in-dereg", action="store_true", help="the receiver stops in its first ibv_dereg_mr()")
    for flag in ("quirk", "adopt", "unaligned", "mlockall", "fork-init", "fork-child", "preserve", "reattach", "break-something"):
        p.add_argument("--" + flag, action="store_true")
    p.add_argument("--out-of-reach", action="store_true", help="the receiver has the file open, and may not enter its directory")
    p.add_argument("--odd-cuts", type=float, default=0.25, help="share of truncates that cut a page in two")
    p.add_argument("--phases", default="truncate freeze", help="of a cycle; a sync and a check end it anyway")
    p.add_argument("--freeze-conflict", default="wait")
    p.add_argument("--daemon-options", default="", help="more of them, as one word")
    p.add_argument("--expect", default="", help="which path it is to take: words like guard=lease key_changes>0")
    p.add_argument("--preload", default="", help="a library in front of the receiver, which registers plainly (--backing plain)")
    p.add_argument("--name", default="")
    return p.parse_args(arguments)


def tell(row, out):
    with open(out, "w") as f:
        json.dump(row, f, indent=1)
        f.write("\n")
    show = ("name", "backing", "guard", "ops", "errors", "lost", "torn", "not_durable", "foreign_ops",
            "foreign_wait_ms_max", "stall_ms_max", "seconds")
    print("row " + " ".join(f"{k}={row[k]}" for k in show), flush=True)
    for problem in row["problems"][:5] + ([row["first"]] if row["first"] else []):
        print("    " + problem, flush=True)


def main():
    args = parse()
    tell(Row(args).run(), args.out)


if __name__ == "__main__":
    sys.exit(main())
